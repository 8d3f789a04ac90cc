// SPDX-License-Identifier: Apache-2.0
// Paths below a container's root: openat2 keeps symbolic links and ".." inside it, also while others change them.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

static int open_in_root(int root, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

// Makes what is missing of a path, a component at a time, each looked up anew inside the root.
static int make_path(int root, const char *path, bool file, struct err *e)
{
	char part[4096];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return err_set(e, ENAMETOOLONG, "%s: path too long", path);
	for (size_t i = 1; i <= len; i++) {
		int parent AUTO_CLOSE = -1, at AUTO_CLOSE = -1;
		const char *name;
		bool last = i == len;
		size_t start;

		if (path[i] != '/' && !last)
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		at = open_in_root(root, part, O_PATH);
		if (at >= 0)
			continue;
		if (errno != ENOENT)
			return err_errno(e, errno, "%s", path);
		for (start = i; start > 0 && part[start - 1] != '/'; start--)
			;
		name = part + start;
		if (!*name)
			continue; // a doubled or final slash
		if (strcmp(name, "..") == 0 || strcmp(name, ".") == 0)
			return err_set(e, ENOENT, "%s: no such file or directory", path);
		part[start ? start - 1 : 0] = '\0';
		parent = open_in_root(root, start > 1 ? part : "/", O_PATH | O_DIRECTORY);
		if (parent < 0)
			return err_errno(e, errno, "%s", path);
		if (last && file) {
			int fd = openat(parent, name,
					O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);

			if (fd < 0 && errno != EEXIST)
				return err_errno(e, errno, "creating %s", path);
			close_fd(fd);
		} else if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST) {
			return err_errno(e, errno, "creating %s", path);
		}
	}
	return 0;
}

int rootfs_open(int root, const char *path, unsigned how, struct err *e)
{
	uint64_t flags = O_PATH | (how & ROOTFS_NOFOLLOW ? O_NOFOLLOW : 0);
	int fd = open_in_root(root, path, flags);
	int r;

	if (fd >= 0 || errno != ENOENT || !(how & (ROOTFS_DIR | ROOTFS_FILE)))
		return fd >= 0 ? fd : err_errno(e, errno, "%s", path);
	r = make_path(root, path, how & ROOTFS_FILE, e);
	if (r < 0)
		return r;
	fd = open_in_root(root, path, flags);
	return fd >= 0 ? fd : err_errno(e, errno, "%s", path);
}
