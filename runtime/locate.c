// SPDX-License-Identifier: Apache-2.0
#include "runtime/locate.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

// The directory of the running program, without a final slash.
static int own_dir(char *buf, struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", buf, LOCATE_BYTES - 1);
	char *slash;

	if (n < 0)
		return err_errno(e, errno, "/proc/self/exe");
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	if (slash)
		*slash = '\0';
	return 0;
}

int locate_program(const char *name, char *buf, struct err *e)
{
	static const char *const places[] = { "", "/../libexec/bulkhead" };
	char dir[LOCATE_BYTES];
	int r = own_dir(dir, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (snprintf(buf, LOCATE_BYTES, "%s%s/%s", dir, places[i], name) < LOCATE_BYTES &&
		    access(buf, X_OK) == 0)
			return 0;
	}
	return err_set(e, ENOENT, "%s: not found in %s nor in %s/../libexec/bulkhead", name, dir,
		       dir);
}

static int cache_path(const char *name, char *buf)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (xdg && xdg[0] == '/')
		return snprintf(buf, LOCATE_BYTES, "%s/bulkhead/%s", xdg, name);
	return snprintf(buf, LOCATE_BYTES, "%s/.cache/bulkhead/%s",
			home && home[0] == '/' ? home : "/root", name);
}

int locate_data(const char *name, const char *given, const char *env, char *buf, struct err *e)
{
	const char *chosen = given && given[0] ? given : getenv(env);
	char dir[LOCATE_BYTES];
	int r;

	if (chosen && chosen[0]) {
		if (snprintf(buf, LOCATE_BYTES, "%s", chosen) >= LOCATE_BYTES)
			return err_set(e, ENAMETOOLONG, "%.80s: path too long", chosen);
		return access(buf, R_OK) == 0 ? 0 : err_errno(e, errno, "%s", buf);
	}
	r = own_dir(dir, e);
	if (r < 0)
		return r;
	if (snprintf(buf, LOCATE_BYTES, "%s/../share/bulkhead/%s", dir, name) < LOCATE_BYTES &&
	    access(buf, R_OK) == 0)
		return 0;
	if (snprintf(buf, LOCATE_BYTES, "/usr/share/bulkhead/%s", name) < LOCATE_BYTES &&
	    access(buf, R_OK) == 0)
		return 0;
	if (cache_path(name, buf) < LOCATE_BYTES && access(buf, R_OK) == 0)
		return 0;
	return err_set(
		e, ENOENT,
		"%s: not found (looked for %s/../share/bulkhead/%s, /usr/share/bulkhead/%s and %s)",
		name, dir, name, name, buf);
}

int locate_open_kernel(const char *path, struct err *e)
{
	int fd AUTO_CLOSE = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	Elf64_Ehdr h;
	ssize_t n;

	if (fd < 0)
		return err_errno(e, errno, "guest kernel %s", path);
	n = pread(fd, &h, sizeof(h), 0);
	if (n < 0)
		return err_errno(e, errno, "guest kernel %s", path);
	if (n < (ssize_t)sizeof(h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
		return err_set(e, ENOEXEC, "guest kernel %s: not an ELF file", path);
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != EM_X86_64)
		return err_set(e, ENOEXEC, "guest kernel %s: not an ELF file for x86-64", path);
	return take_fd(&fd);
}
