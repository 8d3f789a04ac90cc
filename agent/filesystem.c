// SPDX-License-Identifier: Apache-2.0
// A file system from its type and options, as a mount that is not attached yet.
#include "agent/mounts.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

// The kernel's own words about what it does not like, if it has any: "e tmpfs: Bad value for 'size'".
static int refused(int fs, int code, const char *type, struct err *e)
{
	char text[256];
	ssize_t n = read(fs, text, sizeof(text) - 1);

	if (n <= 2 || text[1] != ' ')
		return err_errno(e, code, "mounting %s", type);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return err_errno(e, code, "mounting %s: %s", type, text + 2);
}

static int set(int fs, char *option)
{
	char *value = strchr(option, '=');

	if (!value)
		return fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0);
	*value++ = '\0';
	return fsconfig(fs, FSCONFIG_SET_STRING, option, value, 0);
}

static int set_all(int fs, char *options)
{
	char *save = NULL;

	for (char *o = strtok_r(options, ",", &save); o; o = strtok_r(NULL, ",", &save))
		if (set(fs, o) < 0)
			return -errno;
	return 0;
}

int filesystem_mount(const char *type, const char *source, const char *data, unsigned flags,
		     struct err *e)
{
	char *options AUTO_FREE = strdup(data);
	int fs AUTO_CLOSE = fsopen(type, FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || !options)
		return err_errno(e, options ? errno : ENOMEM, "mounting %s", type);
	if (fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0 ||
	    set_all(fs, options) < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return refused(fs, errno, type, e);
	fd = fsmount(fs, FSMOUNT_CLOEXEC, flags);
	return fd < 0 ? err_errno(e, errno, "mounting %s", type) : fd;
}

int filesystem_change(int at, const char *data, struct err *e)
{
	char *options AUTO_FREE = strdup(data);
	int fs AUTO_CLOSE = fspick(at, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);

	if (fs < 0 || !options)
		return err_errno(e, options ? errno : ENOMEM, "fspick");
	if (set_all(fs, options) < 0 || fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return refused(fs, errno, "it again", e);
	return 0;
}
