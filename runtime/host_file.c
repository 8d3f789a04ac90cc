// SPDX-License-Identifier: Apache-2.0
#include "runtime/host_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

// Whoever writes it decides what programs and kernels run here.
static int check_owner(int fd, const char *path, mode_t type, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "%s", path);
	if ((st.st_mode & S_IFMT) != type)
		return err_set(e, EINVAL, "%s: not a %s", path,
			       type == S_IFDIR ? "directory" : "regular file");
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(e, EPERM, "%s: owned by user %u, not by root", path, st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(e, EPERM, "%s: others than its owner can write it (mode %04o)", path,
			       st.st_mode & 07777);
	return 0;
}

int host_file_read(const char *path, char **ret, size_t *ret_len, struct err *e)
{
	// O_NONBLOCK: what is no regular file is refused, and must not block before.
	int fd AUTO_CLOSE = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char *text AUTO_FREE = NULL;
	struct stat st;
	size_t len;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "%s", path);
	r = check_owner(fd, path, S_IFREG, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "%s", path);
	if (st.st_size > HOST_FILE_BYTES_MAX)
		return err_set(e, EFBIG, "%s: larger than %d bytes", path, HOST_FILE_BYTES_MAX);
	len = (size_t)st.st_size;
	text = malloc(len + 1);
	if (!text)
		return err_errno(e, ENOMEM, "%s", path);
	r = io_read_full(fd, text, len);
	if (r < 0)
		return err_errno(e, -r, "%s", path);
	text[len] = '\0';
	if (host_file_blank_comments(text, len, e) < 0)
		return err_wrap(e, "%s", path);
	*ret = take_ptr(&text);
	*ret_len = len;
	return 0;
}

int host_file_blank_comments(char *text, size_t len, struct err *e)
{
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		const char *end;
		size_t stop;

		if (in_string || text[i] != '/' || i + 1 == len) {
			in_string ^= text[i] == '"';
			i += in_string && text[i] == '\\';
			continue;
		}
		if (text[i + 1] == '/') {
			end = memchr(text + i, '\n', len - i);
			stop = end ? (size_t)(end - text) : len;
		} else if (text[i + 1] == '*') {
			end = memmem(text + i + 2, len - i - 2, "*/", 2);
			if (!end)
				return err_set(e, EINVAL, "a comment without an end at offset %zu",
					       i);
			stop = (size_t)(end - text) + 2;
		} else {
			continue; // the parser's to refuse
		}
		for (; i < stop; i++) {
			if (text[i] != '\n')
				text[i] = ' ';
		}
		i--;
	}
	return 0;
}

static int is_drop_in(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return d->d_name[0] != '.' && len > 5 && strcmp(d->d_name + len - 5, ".json") == 0;
}

// By bytes: the same on every host, whatever its locale.
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int host_file_list(const char *dir, char ***ret, struct err *e)
{
	int fd AUTO_CLOSE = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **names = NULL;
	char **paths;
	int n = 0, r = 0;

	if (fd < 0 && errno != ENOENT)
		return err_errno(e, errno, "%s", dir);
	if (fd >= 0) {
		r = check_owner(fd, dir, S_IFDIR, e);
		if (r < 0)
			return r;
		n = scandirat(fd, ".", &names, is_drop_in, by_name);
		if (n < 0)
			return err_errno(e, errno, "%s", dir);
	}
	paths = calloc((size_t)n + 1, sizeof(*paths));
	if (!paths)
		r = err_errno(e, ENOMEM, "%s", dir);
	else if (n > HOST_FILE_DROP_INS_MAX)
		r = err_set(e, E2BIG, "%s: more than %d files", dir, HOST_FILE_DROP_INS_MAX);
	for (int i = 0; i < n; i++) {
		if (r == 0 && asprintf(&paths[i], "%s/%s", dir, names[i]->d_name) < 0) {
			paths[i] = NULL; // not defined after a failure
			r = err_errno(e, ENOMEM, "%s", dir);
		}
		free(names[i]);
	}
	free(names);
	if (r < 0) {
		for (int i = 0; paths && i < n; i++)
			free(paths[i]);
		free(paths);
		return r;
	}
	*ret = paths;
	return 0;
}
