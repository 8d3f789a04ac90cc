// SPDX-License-Identifier: Apache-2.0
#include "shim/address.h"

#include <errno.h>
#include <sha256.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

#define DEFAULT_DIR "/run/containerd/s"

static int make_dirs(const char *dir, struct err *e)
{
	char path[ADDRESS_BYTES];

	(void)snprintf(path, sizeof(path), "%s", dir); // shorter than an address
	for (char *at = strchr(path + 1, '/');; at = strchr(at + 1, '/')) {
		if (at)
			*at = '\0';
		if (mkdir(path, at ? 0711 : 0700) < 0 && errno != EEXIST)
			return err_errno(e, errno, "mkdir %s", path);
		if (!at)
			return 0;
		*at = '/';
	}
}

int address_of(const char *dir, const char *containerd, const char *ns, const char *group,
	       char buf[ADDRESS_BYTES], struct err *e)
{
	char text[8192], hex[SHA256_DIGEST_STRING_LENGTH];
	int n = snprintf(text, sizeof(text), "%s/%s/%s", containerd, ns, group);

	if (n >= (int)sizeof(text))
		return err_set(e, ENAMETOOLONG, "shim address of %.100s", group);
	if (!dir || !*dir)
		dir = DEFAULT_DIR;
	(void)SHA256Data((const uint8_t *)text, (size_t)n, hex);
	if (snprintf(buf, ADDRESS_BYTES, "%s/%s", dir, hex) >= ADDRESS_BYTES)
		return err_set(e, ENAMETOOLONG, "socket directory %s", dir);
	return make_dirs(dir, e);
}

int address_connect(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd AUTO_CLOSE = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		return -1;
	(void)memcpy(addr.sun_path, path, strlen(path) + 1);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -1 : take_fd(&fd);
}

static bool answers(const char *path)
{
	int fd AUTO_CLOSE = address_connect(path);

	return fd >= 0;
}

int address_listen(const char *path, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd AUTO_CLOSE = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_errno(e, errno, "socket");
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path); // it is an address
	for (int tries = 0; tries < 2; tries++) {
		mode_t old = umask(0177);
		int r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;

		(void)umask(old); // cannot fail
		if (r == 0)
			return listen(fd, 128) < 0 ? err_errno(e, errno, "listening on %s", path)
						   : take_fd(&fd);
		if (r != -EADDRINUSE)
			return err_errno(e, -r, "bind %s", path);
		if (answers(path))
			return err_set(e, EEXIST, "%s: a shim answers there", path);
		(void)unlink(path); // of a shim that has died
	}
	return err_set(e, EADDRINUSE, "%s", path);
}
