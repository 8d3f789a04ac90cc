// SPDX-License-Identifier: Apache-2.0
#include "base/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

static int write_map(int proc, pid_t pid, const char *file, const char *map, struct err *e)
{
	char path[48];
	int fd AUTO_CLOSE = -1;

	(void)snprintf(path, sizeof(path), "%ld/%s", (long)pid, file); // fits
	fd = openat(proc, path, O_WRONLY | O_CLOEXEC);
	// The kernel takes a map in one write.
	return fd < 0 || write(fd, map, strlen(map)) < 0 ? err_errno(e, errno, "%s", file) : 0;
}

int userns_map(int proc, pid_t pid, const char *uid_map, const char *gid_map, struct err *e)
{
	int r = write_map(proc, pid, "gid_map", gid_map, e);

	return r < 0 ? r : write_map(proc, pid, "uid_map", uid_map, e);
}

int userns_new(int proc, const char *uid_map, const char *gid_map, struct err *e)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, NULL, NULL, 0);
	char path[48];
	int fd, r;

	if (pid < 0)
		return err_errno(e, errno, "new user namespace");
	if (pid == 0)
		for (;;)
			(void)pause(); // until it is killed
	r = userns_map(proc, pid, uid_map, gid_map, e);
	(void)snprintf(path, sizeof(path), "%ld/ns/user", (long)pid); // fits
	fd = r < 0 ? r : openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (r == 0 && fd < 0)
		fd = err_errno(e, errno, "%s", path);
	(void)kill(pid, SIGKILL);    // it is ours and there
	(void)waitpid(pid, NULL, 0); // killed: this does not wait long
	return fd;
}
