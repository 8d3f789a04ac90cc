// SPDX-License-Identifier: Apache-2.0
// Files: what is there, and what happens when they are used.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

static const char *type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "link";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	case S_IFIFO:
		return "fifo";
	default:
		return "socket";
	}
}

// stat:PATH, not following a last symbolic link: type, mode, owner, and device or target.
static void stat_query(const char *query, const char *what)
{
	struct stat st;
	char target[4096];
	ssize_t n;

	if (lstat(what, &st) < 0) {
		say_result(query, -1);
		return;
	}
	if (S_ISLNK(st.st_mode)) {
		n = readlink(what, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		say(query, "link %s", target);
	} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		say(query, "%s %04o %u:%u %u,%u", type_of(st.st_mode), st.st_mode & 07777,
		    st.st_uid, st.st_gid, major(st.st_rdev), minor(st.st_rdev));
	} else {
		say(query, "%s %04o %u:%u", type_of(st.st_mode), st.st_mode & 07777, st.st_uid,
		    st.st_gid);
	}
}

static void ls(const char *query, const char *what)
{
	struct dirent **list;
	int n = scandir(what, &list, NULL, alphasort);

	if (n < 0) {
		say_result(query, -1);
		return;
	}
	printf("%s", query);
	for (int i = 0; i < n; i++) {
		if (strcmp(list[i]->d_name, ".") != 0 && strcmp(list[i]->d_name, "..") != 0)
			printf(" %s", list[i]->d_name);
		free(list[i]);
	}
	free(list);
	putchar('\n');
}

// read:PATH: a line of output per line, runs of blanks as one.
static void read_query(const char *query, const char *what)
{
	static char text[65536], line[65536];
	size_t at = 0;
	int fd = open(what, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		say(query, "%s", n < 0 ? strerrorname_np(errno) : "(empty)");
	for (ssize_t i = 0; i < n; i++) {
		char c = text[i] == '\t' || text[i] == '\0' ? ' ' : text[i];

		if (c == ' ' && (at == 0 || line[at - 1] == ' '))
			continue;
		if (c != '\n')
			line[at++] = c;
		if (c == '\n' || i == n - 1) {
			line[at] = '\0';
			say(query, "%s", line);
			at = 0;
		}
	}
	if (fd >= 0)
		(void)close(fd);
}

// write:PATH:TEXT
static void write_query(const char *query, const char *what)
{
	char *copy = strdup(what), *rest = copy;
	const char *path = next_field(&rest);
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);

	say_result(query, fd < 0 ? -1 : write(fd, rest, strlen(rest)));
	if (fd >= 0)
		(void)close(fd);
	free(copy);
}

// open:MODE:PATH; MODE is r, w, rw, or c (create)
static void open_query(const char *query, const char *what)
{
	char *copy = strdup(what), *path = copy;
	const char *mode = next_field(&path);
	int flags = strcmp(mode, "rw") == 0 ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
	int fd;

	if (*mode == 'c')
		flags |= O_CREAT | O_EXCL;
	fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
	say_result(query, fd);
	if (fd >= 0)
		(void)close(fd);
	free(copy);
}

// mknod:PATH:c|b|p:MAJOR:MINOR
static void mknod_query(const char *query, const char *what)
{
	char *copy = strdup(what), *rest = copy;
	const char *path = next_field(&rest), *type = next_field(&rest);
	unsigned major_nr = (unsigned)atoi(next_field(&rest)), minor_nr = (unsigned)atoi(rest);

	say_result(query, mknod(path,
				(*type == 'c'   ? S_IFCHR
				 : *type == 'b' ? S_IFBLK
						: S_IFIFO) |
					0600,
				makedev(major_nr, minor_nr)));
	free(copy);
}

static void mkdir_query(const char *query, const char *what)
{
	say_result(query, mkdir(what, 0777));
}

static void chdir_query(const char *query, const char *what)
{
	say_result(query, chdir(what));
}

// exec:PATH: the exit code of a program, or why it cannot be executed.
static void exec_query(const char *query, const char *what)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl(what, what, (char *)NULL);
		_exit(errno);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		say_result(query, -1);
	else if (WIFSIGNALED(status))
		say(query, "killed SIG%s", sigabbrev_np(WTERMSIG(status)));
	else
		say(query, "%s", WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "ok");
}

const struct probe_query file_queries[] = {
	{ "stat", stat_query },   { "ls", ls },
	{ "read", read_query },   { "write", write_query },
	{ "open", open_query },   { "mknod", mknod_query },
	{ "mkdir", mkdir_query }, { "chdir", chdir_query },
	{ "exec", exec_query },   { 0 },
};
