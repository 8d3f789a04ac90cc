// SPDX-License-Identifier: Apache-2.0
#include "runtime/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

enum { TREE_DEPTH_MAX = 32 };

int tree_make_dirs(const char *path, mode_t mode, struct err *e)
{
	char part[4096];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(part))
		return err_set(e, ENAMETOOLONG, "%.80s: path empty or too long", path);
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return err_errno(e, errno, "mkdir %s", part);
		if (i < n)
			part[i] = '/';
	}
	return 0;
}

OWN_DEFINE(DIR *, closedir)

// RESOLVE_NO_XDEV, because a bind mount of the same file system has the same st_dev: walking into one that was left behind
// would delete a container's root. Only the top may be a mount point of its own.
static int open_dir(int dirfd, const char *name, unsigned depth)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
				.resolve = depth ? RESOLVE_NO_XDEV : 0 };

	return (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
}

static int remove_at(int dirfd, const char *name, unsigned depth, struct err *e)
{
	DIR *d AUTO(closedir) = NULL;
	struct dirent *ent;
	struct stat st;
	int fd;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "stat %s", name);
	if (!S_ISDIR(st.st_mode)) {
		if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
			return err_errno(e, errno, "unlink %s", name);
		return 0;
	}
	if (depth == TREE_DEPTH_MAX)
		return err_set(e, ELOOP, "%s: too deep", name);
	fd = open_dir(dirfd, name, depth);
	if (fd < 0 && errno == EXDEV)
		return err_set(e, EBUSY, "%s: something is mounted here", name);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "open %s", name);
	d = fdopendir(fd); // owns fd from here
	if (!d) {
		int code = errno;

		close_fd(fd);
		return err_errno(e, code, "open %s", name);
	}
	while ((ent = readdir(d))) {
		int r;

		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;
		r = remove_at(fd, ent->d_name, depth + 1, e);
		if (r < 0)
			return r;
	}
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_errno(e, errno, "rmdir %s", name);
	return 0;
}

int tree_remove(const char *path, struct err *e)
{
	return remove_at(AT_FDCWD, path, 0, e);
}
