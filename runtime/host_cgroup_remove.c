// SPDX-License-Identifier: Apache-2.0
// What a pod has on the host in cgroups, as a file of its directory says it: so that whoever deletes it finds it, whatever
// has crashed before.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/host_cgroup_priv.h"
#include "runtime/systemd_scope.h"

enum {
	REMOVE_TRIES = 500,
	REMOVE_WAIT_MS = 10,
	DEPTH_MAX = 16,
	NOTE_BYTES_MAX = HOST_HIERARCHIES_MAX * HOST_PATH_BYTES * 2,
	PROCS_BYTES_MAX = 16 << 20,
};
#define NOTE_NAME "host-cgroup.json"

OWN_DEFINE(DIR *, closedir)
OWN_DEFINE(yajl_val, yajl_tree_free)

// ---- the end of a group
static void kill_all(const char *dir)
{
	char path[HOST_PATH_BYTES], *text AUTO_FREE = NULL, *save = NULL;

	if (snprintf(path, sizeof(path), "%s/cgroup.procs", dir) >= (int)sizeof(path) ||
	    io_read_file(AT_FDCWD, path, PROCS_BYTES_MAX, &text, NULL, NULL) < 0)
		return; // gone; or threaded, and then they are listed above
	for (char *w = strtok_r(text, "\n", &save); w; w = strtok_r(NULL, "\n", &save)) {
		long pid = strtol(w, NULL, 10);

		if (pid > 0 && pid != getpid())          // 0: in another pid namespace
			(void)kill((pid_t)pid, SIGKILL); // it may have ended
	}
}

// One try, from the leaves up. -EBUSY while something is in it.
static int try_remove(const char *dir, unsigned depth)
{
	DIR *d AUTO(closedir) = opendir(dir);
	struct dirent *ent;
	int r = 0;

	kill_all(dir);
	while (d && (ent = readdir(d))) {
		char sub[HOST_PATH_BYTES];
		struct stat st;

		if (ent->d_name[0] == '.' ||
		    fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode))
			continue;
		if (depth == DEPTH_MAX ||
		    snprintf(sub, sizeof(sub), "%s/%s", dir, ent->d_name) >= (int)sizeof(sub))
			return -ELOOP;
		r = r < 0 ? r : try_remove(sub, depth + 1);
	}
	if (r == 0 && rmdir(dir) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

int host_cgroup_remove_dir(const char *dir, struct err *e)
{
	const struct timespec pause = { .tv_nsec = REMOVE_WAIT_MS * 1000000l };
	int r = -EBUSY;

	// What is killed takes a moment to be gone, and no hierarchy tells of it in all layouts.
	for (unsigned i = 0; i < REMOVE_TRIES && r == -EBUSY; i++) {
		if (i > 0)
			(void)nanosleep(&pause, NULL); // woken early it tries early
		r = try_remove(dir, 0);
	}
	return r < 0 ? err_errno(e, -r, "removing the host's cgroup %s", dir) : 0;
}

// ---- the note
int host_cgroup_note(const struct host_cgroup *c, const char *record, struct err *e)
{
	char path[HOST_PATH_BYTES], *text AUTO_FREE = NULL;
	struct json_out o;
	size_t len = 0;
	int r;

	if (snprintf(path, sizeof(path), "%s/" NOTE_NAME, record) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "%s: path too long", record);
	r = json_out_init(&o, NULL, e);
	if (r < 0)
		return r;
	json_out_open(&o, '{');
	json_out_kstr(&o, "unit", c->unit);
	json_out_key(&o, "dirs");
	json_out_open(&o, '[');
	for (unsigned i = 0; i < c->n; i++)
		json_out_str(&o, c->v[i].dir);
	json_out_close(&o, ']');
	json_out_close(&o, '}');
	r = json_out_take(&o, &text, &len, e);
	json_out_done(&o);
	return r < 0 ? r : io_write_file(AT_FDCWD, path, text, len, 0600, e);
}

struct note {
	yajl_val tree; // what the rest is borrowed from; NULL: there is no note
	const char *unit;
	struct json_at top, dirs;
	size_t n_dirs;
};

static int note_read(const char *record, struct note *n, struct err *e)
{
	char path[HOST_PATH_BYTES], *text AUTO_FREE = NULL;
	yajl_val tree AUTO(yajl_tree_free) = NULL;
	struct json_at at;
	size_t len;
	int r;

	*n = (struct note){ 0 };
	if (snprintf(path, sizeof(path), "%s/" NOTE_NAME, record) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "%s: path too long", record);
	r = io_read_file(AT_FDCWD, path, NOTE_BYTES_MAX, &text, &len, e);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	r = r < 0 ? r : json_parse(text, len, 4, &tree, e);
	if (r < 0)
		return err_wrap(e, "%s", path);
	n->top = json_top(tree);
	r = json_member(&n->top, "unit", &at) ? json_string(&at, HOST_UNIT_BYTES - 1, &n->unit, e)
					      : json_err(&at, e, "absent");
	if (r == 0)
		r = json_member(&n->top, "dirs", &n->dirs)
			    ? json_is_array(&n->dirs, HOST_HIERARCHIES_MAX, &n->n_dirs, e)
			    : json_err(&n->dirs, e, "absent");
	if (r < 0)
		return err_wrap(e, "%s", path);
	n->tree = take_ptr(&tree);
	return 0;
}

static int note_dir(const struct note *n, size_t i, const char **ret, struct err *e)
{
	struct json_at at = json_item(&n->dirs, i);

	return json_string(&at, HOST_PATH_BYTES - 1, ret, e);
}

int host_cgroup_join(const char *record, pid_t pid, struct err *e)
{
	struct note n;
	const char *dir;
	int r = note_read(record, &n, e);

	for (size_t i = 0; r == 0 && i < n.n_dirs; i++) {
		r = note_dir(&n, i, &dir, e);
		if (r == 0 && (r = host_cgroup_put_number(dir, "cgroup.procs", pid)) < 0)
			r = r == -ENOENT ? 0 : err_errno(e, -r, "%s/cgroup.procs", dir);
	}
	r = r < 0 ? r : n.tree != NULL;
	yajl_tree_free(n.tree);
	return r;
}

int host_cgroup_discard(const char *record, struct err *e)
{
	char path[HOST_PATH_BYTES];
	const char *dir;
	struct note n;
	struct err why;
	int r = note_read(record, &n, e);

	for (size_t i = 0; r == 0 && i < n.n_dirs; i++) {
		r = note_dir(&n, i, &dir, e);
		r = r < 0 ? r : host_cgroup_remove_dir(dir, e);
	}
	// It ends by itself with its last process, which is dead: a bus that is gone keeps no container from its end.
	if (r == 0 && n.tree && n.unit[0] && systemd_scope_stop(n.unit, &why) < 0)
		log_debug("%s", why.msg);
	if (r == 0 && n.tree) {
		(void)snprintf(path, sizeof(path), "%s/" NOTE_NAME, record); // fitted before
		(void)unlink(path); // its directory goes next
	}
	yajl_tree_free(n.tree);
	return r;
}

int host_cgroup_update(struct host_cgroup *c, const struct oci_resources *res, struct err *e)
{
	struct host_cgroup_scope_limits limits;
	int r = 0;

	if (c->unit[0]) {
		host_cgroup_scope_limits(c, res, &limits);
		r = limits.cpu_weight ? systemd_scope_set_weight(c->unit, limits.cpu_weight, e) : 0;
	}
	return r < 0 ? r : host_cgroup_limit(c, res, false, e);
}
