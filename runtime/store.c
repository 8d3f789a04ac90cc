// SPDX-License-Identifier: Apache-2.0
#include "runtime/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "runtime/tree.h"

int store_check_id(const char *id, struct err *e)
{
	static const char ok[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.";
	size_t n = strlen(id);

	if (n == 0)
		return err_set(e, EINVAL,
			       "container ID cannot be empty: invalid container ID format");
	if (n > STORE_ID_MAX || id[strspn(id, ok)] != '\0' || strcmp(id, ".") == 0 ||
	    strcmp(id, "..") == 0)
		return err_set(e, EINVAL, "invalid container ID format: %.80s%s", id,
			       n > 80 ? "..." : "");
	if (n > NAME_MAX)
		return err_set(e, EINVAL, "invalid container ID format: longer than %d bytes",
			       NAME_MAX);
	return 0;
}

int store_process_read(pid_t pid, struct store_process *ret)
{
	char path[64], *text AUTO_FREE = NULL, *p;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid); // fits
	r = io_read_file(AT_FDCWD, path, 65536, &text, NULL, NULL);
	if (r < 0)
		return -ESRCH;
	p = strrchr(text, ')'); // the name in field 2 may hold anything
	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
		return -ESRCH;
	for (int field = 2; field < 22; field++) {
		p = strchr(p + 1, ' ');
		if (!p)
			return -ESRCH;
	}
	*ret = (struct store_process){ .pid = pid, .start_time = strtoull(p + 1, NULL, 10) };
	return 0;
}

bool store_process_alive(const struct store_process *p)
{
	struct store_process now;

	return p->pid > 0 && store_process_read(p->pid, &now) == 0 &&
	       now.start_time == p->start_time;
}

int store_process_open(const struct store_process *p)
{
	int fd AUTO_CLOSE = p->pid > 0 ? (int)syscall(SYS_pidfd_open, p->pid, 0) : -1;

	if (fd < 0)
		return p->pid > 0 ? -errno : -ESRCH;
	// The pid cannot be given to another process while it is looked at through its pidfd.
	if (!store_process_alive(p))
		return -ESRCH;
	return take_fd(&fd);
}

int store_container_path(const char *root, const char *id, const char *name, char *buf,
			 struct err *e)
{
	if (snprintf(buf, STORE_PATH_BYTES, "%s/containers/%s%s%s", root, id, name ? "/" : "",
		     name ? name : "") >= STORE_PATH_BYTES)
		return err_set(e, ENAMETOOLONG, "%s: path too long", root);
	return 0;
}

int store_pod_path(const char *root, const char *id, const char *name, char *buf, struct err *e)
{
	if (snprintf(buf, STORE_PATH_BYTES, "%s/pods/%s%s%s", root, id, name ? "/" : "",
		     name ? name : "") >= STORE_PATH_BYTES)
		return err_set(e, ENAMETOOLONG, "%s: path too long", root);
	return 0;
}

bool store_exists(const char *root, const char *id)
{
	char path[STORE_PATH_BYTES];

	return store_container_path(root, id, "state.json", path, NULL) == 0 &&
	       access(path, F_OK) == 0;
}

int store_lock(const char *root, const char *id, bool create, struct err *e)
{
	char dir[STORE_PATH_BYTES], path[STORE_PATH_BYTES];
	int r = store_container_path(root, id, NULL, dir, e);

	if (r < 0 || (r = store_container_path(root, id, "lock", path, e)) < 0)
		return r;
	if (create && (r = tree_make_dirs(dir, 0700, e)) < 0)
		return r;
	for (;;) {
		int fd AUTO_CLOSE =
			open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
		struct stat by_fd, by_path;

		if (fd < 0 && errno == ENOENT && create) {
			if ((r = tree_make_dirs(dir, 0700, e)) < 0)
				return r;
			continue; // a delete removed the directory between the two calls
		}
		if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
			return err_set(e, ENOENT, "container does not exist");
		if (fd < 0)
			return err_errno(e, errno, "open %s", path);
		// A create must not wait for a create of the same id, which can take its guest's boot time.
		while (flock(fd, LOCK_EX | (create ? LOCK_NB : 0)) < 0) {
			if (errno == EWOULDBLOCK)
				return err_set(e, EEXIST, "container with given ID already exists");
			if (errno != EINTR)
				return err_errno(e, errno, "locking %s", path);
		}
		// Held, but is it still the file that is there? A delete unlinks it under its lock.
		if (fstat(fd, &by_fd) < 0)
			return err_errno(e, errno, "stat %s", path);
		if (stat(path, &by_path) < 0 || by_fd.st_ino != by_path.st_ino ||
		    by_fd.st_dev != by_path.st_dev)
			continue;
		return take_fd(&fd);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void store_ids_free(char **ids)
{
	for (char **p = ids; p && *p; p++)
		free(*p);
	free(ids);
}
OWN_DEFINE(char **, store_ids_free)
OWN_DEFINE(DIR *, closedir)

int store_list(const char *root, char ***ret_ids, struct err *e)
{
	char path[STORE_PATH_BYTES];
	char **ids AUTO(store_ids_free) = calloc(1, sizeof(*ids));
	DIR *d AUTO(closedir) = NULL;
	size_t n = 0;

	if (!ids)
		return err_errno(e, ENOMEM, "listing containers");
	if (access(root, F_OK) < 0)
		return err_errno(e, errno, "open %s", root);
	if (snprintf(path, sizeof(path), "%s/containers", root) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "%s: path too long", root);
	d = opendir(path);
	if (!d && errno != ENOENT)
		return err_errno(e, errno, "open %s", path);
	while (d) {
		struct dirent *ent = readdir(d);
		char **more;

		if (!ent)
			break;
		if (store_check_id(ent->d_name, NULL) < 0 || !store_exists(root, ent->d_name))
			continue;
		more = realloc(ids, (n + 2) * sizeof(*ids));
		if (!more)
			return err_errno(e, ENOMEM, "listing containers");
		ids = more;
		ids[n] = strdup(ent->d_name);
		ids[n + 1] = NULL;
		if (!ids[n++])
			return err_errno(e, ENOMEM, "listing containers");
	}
	qsort(ids, n, sizeof(*ids), by_name);
	*ret_ids = take_ptr(&ids);
	return 0;
}

void store_container_done(struct store_container *c)
{
	free(c->id);
	free(c->pod);
	free(c->bundle);
	free(c->rootfs);
	free(c->created);
	free(c->annotations);
	*c = (struct store_container){ 0 };
}

static int read_owned(const struct json_at *top, const char *key, char **ret, struct err *e)
{
	struct json_at at;
	const char *s;
	int r;

	if (!json_member(top, key, &at))
		return json_err(&at, e, "absent");
	r = json_string(&at, 1 << 24, &s, e);
	if (r < 0)
		return r;
	*ret = strdup(s);
	return *ret ? 0 : err_errno(e, ENOMEM, "%s", key);
}

static int read_process(const struct json_at *top, const char *key, struct store_process *ret,
			struct err *e)
{
	struct json_at at, sub;
	int64_t pid = 0;
	int r;

	if (!json_member(top, key, &at))
		return json_err(&at, e, "absent");
	if (!json_member(&at, "pid", &sub))
		return json_err(&sub, e, "absent");
	if ((r = json_i64(&sub, 0, INT32_MAX, &pid, e)) < 0)
		return r;
	ret->pid = (pid_t)pid;
	if (!json_member(&at, "startTime", &sub))
		return json_err(&sub, e, "absent");
	return json_u64(&sub, UINT64_MAX, &ret->start_time, e);
}

int store_container_read(const char *root, const char *id, struct store_container *ret,
			 struct err *e)
{
	char path[STORE_PATH_BYTES], *text AUTO_FREE = NULL;
	struct store_container c = { 0 };
	yajl_val tree = NULL;
	struct json_at top;
	struct stat st;
	size_t len;
	int r = store_container_path(root, id, "state.json", path, e);

	if (r < 0)
		return r;
	if (stat(path, &st) == 0)
		c.owner = st.st_uid;
	r = io_read_file(AT_FDCWD, path, 64 << 20, &text, &len, e);
	if (r == -ENOENT || r == -ENOTDIR)
		return err_set(e, ENOENT, "container does not exist");
	if (r < 0)
		return r;
	r = json_parse(text, len, 16, &tree, e);
	if (r < 0)
		return err_wrap(e, "%s", path);
	top = json_top(tree);
	if ((r = read_owned(&top, "id", &c.id, e)) == 0 &&
	    (r = read_owned(&top, "pod", &c.pod, e)) == 0 &&
	    (r = read_owned(&top, "bundle", &c.bundle, e)) == 0 &&
	    (r = read_owned(&top, "rootfs", &c.rootfs, e)) == 0 &&
	    (r = read_owned(&top, "created", &c.created, e)) == 0 &&
	    (r = read_owned(&top, "annotations", &c.annotations, e)) == 0 &&
	    (r = read_process(&top, "proxy", &c.proxy, e)) == 0)
		r = read_process(&top, "supervisor", &c.supervisor, e);
	yajl_tree_free(tree);
	if (r < 0) {
		store_container_done(&c);
		return err_wrap(e, "%s", path);
	}
	*ret = c;
	return 0;
}

static void put_process(struct json_out *o, const char *key, const struct store_process *p)
{
	char number[24];

	json_out_key(o, key);
	json_out_open(o, '{');
	json_out_kint(o, "pid", p->pid);
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)p->start_time); // fits
	json_out_key(o, "startTime");
	json_out_number(o, number);
	json_out_close(o, '}');
}

int store_container_write(const char *root, const struct store_container *c, struct err *e)
{
	char path[STORE_PATH_BYTES], *text AUTO_FREE = NULL;
	struct json_out o;
	size_t len = 0;
	int r = store_container_path(root, c->id, "state.json", path, e);

	if (r < 0 || (r = json_out_init(&o, "  ", e)) < 0)
		return r;
	json_out_open(&o, '{');
	json_out_kstr(&o, "id", c->id);
	json_out_kstr(&o, "pod", c->pod);
	json_out_kstr(&o, "bundle", c->bundle);
	json_out_kstr(&o, "rootfs", c->rootfs);
	json_out_kstr(&o, "created", c->created);
	json_out_kstr(&o, "annotations", c->annotations);
	put_process(&o, "proxy", &c->proxy);
	put_process(&o, "supervisor", &c->supervisor);
	json_out_close(&o, '}');
	r = json_out_take(&o, &text, &len, e);
	json_out_done(&o);
	return r < 0 ? r : io_write_file(AT_FDCWD, path, text, len, 0600, e);
}
