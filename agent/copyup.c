// SPDX-License-Identifier: Apache-2.0
// tmpcopyup: a fresh tmpfs gets what the directory below it holds. The source is the image's, so nothing of it is trusted:
// links are copied, not followed, and the depth has a limit; the tmpfs limits the rest.
#include "agent/mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

enum { COPY_DEPTH_MAX = 100 };

static inline void own_closedir_(DIR **d)
{
	int saved = errno;

	if (*d)
		(void)closedir(*d); // read only
	errno = saved;
}

static int copy_dir(int from, int to, unsigned depth);

static int copy_data(int from, int to, off_t len)
{
	while (len > 0) {
		ssize_t n = sendfile(to, from, NULL, len > SSIZE_MAX ? SSIZE_MAX : (size_t)len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break; // it has shrunk meanwhile
		len -= n;
	}
	return 0;
}

static int copy_file(int from, const char *name, int to, const struct stat *st)
{
	int in AUTO_CLOSE = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int out AUTO_CLOSE = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return in < 0 || out < 0 ? -errno : copy_data(in, out, st->st_size);
}

static int copy_link(int from, const char *name, int to)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return symlinkat(target, to, name) < 0 ? -errno : 0;
}

static int copy_subdir(int from, const char *name, int to, unsigned depth)
{
	int in AUTO_CLOSE = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int out AUTO_CLOSE = -1;

	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return -errno;
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return out < 0 ? -errno : copy_dir(in, out, depth + 1);
}

// Owner before mode: a change of owner takes the set-id bits away.
static int copy_attributes(int to, const char *name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) < 0) ||
	    utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int copy_entry(int from, const char *name, int to, unsigned depth)
{
	struct stat st;
	int r;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		r = copy_subdir(from, name, to, depth);
	else if (S_ISREG(st.st_mode))
		r = copy_file(from, name, to, &st);
	else if (S_ISLNK(st.st_mode))
		r = copy_link(from, name, to);
	else
		r = mknodat(to, name, st.st_mode, st.st_rdev) < 0 ? -errno : 0;
	return r < 0 ? r : copy_attributes(to, name, &st);
}

static int copy_dir(int from, int to, unsigned depth)
{
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d __attribute__((cleanup(own_closedir_))) = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	int r = 0;

	if (!d) {
		close_fd(fd);
		return -errno;
	}
	if (depth > COPY_DEPTH_MAX)
		return -ELOOP;
	while (r == 0 && (errno = 0, ent = readdir(d)))
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			r = copy_entry(from, ent->d_name, to, depth);
	return r < 0 ? r : -errno;
}

int mounts_copy_up(int from, int to, const char *destination, struct err *e)
{
	struct stat st;
	int r = copy_dir(from, to, 0);

	// The tmpfs's own mode is the mount's to say.
	if (r == 0 &&
	    (fstat(from, &st) < 0 || fchownat(to, "", st.st_uid, st.st_gid, AT_EMPTY_PATH) < 0))
		r = -errno;
	return r < 0 ? err_errno(e, -r, "mounts: %s: tmpcopyup", destination) : 0;
}
