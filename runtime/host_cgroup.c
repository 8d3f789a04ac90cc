// SPDX-License-Identifier: Apache-2.0
#include "runtime/host_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "runtime/host_cgroup_priv.h"
#include "runtime/systemd_scope.h"

enum { PROCS_BYTES_MAX = 1 << 20, MAKE_TRIES = 16 };

int host_cgroup_put(const char *dir, const char *file, const char *text)
{
	char path[HOST_PATH_BYTES];
	int fd AUTO_CLOSE = -1;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int host_cgroup_put_number(const char *dir, const char *file, long long n)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%lld", n); // fits
	return host_cgroup_put(dir, file, text);
}

static int read_file(const char *dir, const char *file, char **ret)
{
	char path[HOST_PATH_BYTES];

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return io_read_file(AT_FDCWD, path, PROCS_BYTES_MAX, ret, NULL, NULL);
}

// ---- names
// "a//./b/" as "/a/b". ".." is refused: it would name another's group.
static int clean_path(const char *text, char *ret, struct err *e)
{
	size_t used = 0;

	ret[0] = '\0';
	for (const char *at = text; *at;) {
		size_t len = strcspn(at, "/");

		if (len > NAME_MAX || used + len + 2 > HOST_PATH_BYTES || memchr(at, '\n', len) ||
		    (len == 2 && memcmp(at, "..", 2) == 0))
			return err_set(e, EINVAL,
				       "linux.cgroupsPath: \"%.200s\" is not a path of a group",
				       text);
		if (len > 0 && !(len == 1 && *at == '.'))
			used += (size_t)snprintf(ret + used, HOST_PATH_BYTES - used, "/%.*s",
						 (int)len, at);
		at += len + (at[len] == '/');
	}
	return used ? 0 : err_set(e, EINVAL, "linux.cgroupsPath: \"%.200s\" is the root", text);
}

// Where a relative path begins. As runc: in v1 at this process's own group; in v2 beside it, as the one that we are in has
// processes and so cannot hand on controllers.
static void put_base(struct host_group *g, bool absolute)
{
	size_t mount = strlen(g->h->mount);
	char *slash;

	(void)snprintf(g->dir, sizeof(g->dir), "%s",
		       absolute ? g->h->mount : g->h->own); // a longer one is refused with its end
	if (!absolute && g->h->v2 && strlen(g->dir) > mount) {
		slash = strrchr(g->dir, '/');
		*slash = '\0';
	}
}

static int name_group(struct host_group *g, bool absolute, const char *path, struct err *e)
{
	size_t n;

	put_base(g, absolute);
	n = strlen(g->dir);
	// Room for the names of files below it.
	if (n + strlen(path) + 64 > sizeof(g->dir))
		return err_set(e, ENAMETOOLONG, "linux.cgroupsPath: \"%.200s\" is too long", path);
	(void)snprintf(g->dir + n, sizeof(g->dir) - n, "%s", path); // fits
	return 0;
}

// ---- making
// A new group of v1's cpuset has no processors and takes no process until it has.
static void inherit_cpuset(const char *dir)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	char parent[HOST_PATH_BYTES];

	(void)snprintf(parent, sizeof(parent), "%s", dir); // as long
	*strrchr(parent, '/') = '\0';
	for (unsigned i = 0; i < 2; i++) {
		char *ours AUTO_FREE = NULL, *theirs AUTO_FREE = NULL;

		if (read_file(dir, files[i], &ours) == 0 && (!*ours || *ours == '\n') &&
		    read_file(parent, files[i], &theirs) == 0)
			(void)host_cgroup_put(dir, files[i],
					      theirs); // seen when a process is put in
	}
}

// Not of v2's root, which may have both processes and controllers.
static bool has_processes(const char *dir)
{
	char *type AUTO_FREE = NULL, *procs AUTO_FREE = NULL;

	return read_file(dir, "cgroup.type", &type) == 0 &&
	       read_file(dir, "cgroup.procs", &procs) == 0 && *procs;
}

// v2: what a group has, its children may have. What cannot be handed on is not there for them.
static void hand_on(const char *dir, const char *const *controllers)
{
	char add[32];

	for (; *controllers; controllers++) {
		(void)snprintf(add, sizeof(add), "+%s", *controllers);     // fits
		(void)host_cgroup_put(dir, "cgroup.subtree_control", add); // as said
	}
}

static int try_make_dirs(struct host_group *g)
{
	static const char *const all[] = { "cpu", "cpuset", "memory", "pids", NULL };
	size_t mount = strlen(g->h->mount), end = strlen(g->dir);
	bool cpuset = !g->h->v2 && host_hierarchy_has(g->h, "cpuset");

	for (size_t i = mount; i < end;) {
		size_t next = i + 1 + strcspn(g->dir + i + 1, "/");
		char saved = g->dir[next];
		int r = 0;

		if (g->h->v2 && g->h->controllers[0]) {
			g->dir[i] = '\0';
			// With processes in it, cpu would make it a threaded domain, and our group in it invalid.
			if (!has_processes(g->dir))
				hand_on(g->dir, all);
			g->dir[i] = '/';
		}
		g->dir[next] = '\0';
		if (mkdir(g->dir, 0755) == 0)
			g->made = next == end;
		else
			r = -errno;
		if (cpuset && (r == 0 || r == -EEXIST))
			inherit_cpuset(g->dir);
		g->dir[next] = saved;
		if (r < 0 && (r != -EEXIST || next == end))
			return r;
		i = next;
	}
	return g->made ? 0 : -EEXIST;
}

// The groups on the way, and the group itself. Somebody may remove what has become empty on the way at the same time.
static int make_dirs(struct host_group *g)
{
	int r = -ENOENT;

	for (unsigned i = 0; i < MAKE_TRIES && r == -ENOENT; i++)
		r = try_make_dirs(g);
	return r;
}

// A group that is there already may be taken if it is nobody's.
static int check_empty(const struct host_group *g, struct err *e)
{
	char *text AUTO_FREE = NULL;
	unsigned n = 0;

	if (read_file(g->dir, "cgroup.procs", &text) < 0)
		return 0; // what is wrong with it is seen when a process is put in
	for (const char *p = text; *p; p++)
		n += *p == '\n';
	return n ? err_set(e, EBUSY, "container's cgroup is not empty: %u process(es) found in %s",
			   n, g->dir)
		 : 0;
}

// The group of the threads. Threads of one process can be in different groups in v1, and in v2 below a threaded root.
static int make_vcpus(struct host_group *g)
{
	static const char *const threaded[] = { "cpu", "cpuset", NULL };
	char dir[HOST_PATH_BYTES + 8];
	int r = 0;

	if (!host_hierarchy_has(g->h, "cpu") && !host_hierarchy_has(g->h, "cpuset"))
		return 0;
	(void)snprintf(dir, sizeof(dir), "%s/" HOST_CGROUP_VCPUS, g->dir); // fits
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (g->h->v2) {
		r = host_cgroup_put(dir, "cgroup.type", "threaded");
		hand_on(g->dir, threaded);
	} else if (host_hierarchy_has(g->h, "cpuset")) {
		inherit_cpuset(dir);
	}
	g->vcpus = r == 0;
	return r;
}

static int make_group(struct host_cgroup *c, struct host_group *g, struct err *e)
{
	int r = make_dirs(g);

	if (r == -EEXIST && c->required) // systemd's own are there, and have the process
		r = c->unit[0] ? 0 : check_empty(g, e);
	else if (r < 0 && r != -EEXIST)
		(void)err_errno(e, -r, "linux.cgroupsPath: mkdir %s", g->dir);
	if (r == 0 && c->machine && (r = make_vcpus(g)) < 0)
		(void)err_errno(e, -r, "linux.cgroupsPath: %s/" HOST_CGROUP_VCPUS, g->dir);
	return r;
}

static void unmake(struct host_cgroup *c)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->v[i].made)
			(void)host_cgroup_remove_dir(c->v[i].dir, NULL); // another error is told
	c->n = 0;
}

static int make_groups(struct host_cgroup *c, const struct host_layout *l, bool absolute,
		       const char *path, struct err *e)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct host_group *g = &c->v[c->n];
		struct err why = { 0 };
		int r;

		*g = (struct host_group){ .h = &l->v[i] };
		r = name_group(g, absolute, path, &why);
		if (r == 0) {
			c->n++;
			r = make_group(c, g, &why);
		}
		if (r == -EEXIST || (r < 0 && c->required)) {
			unmake(c);
			return err_set(e, -r, "%s", why.msg);
		}
		if (r < 0) {
			log_debug("no host cgroup: %s", why.msg);
			if (g->made)
				(void)host_cgroup_remove_dir(g->dir, NULL); // as good as not there
			c->n = (unsigned)(g - c->v);
		}
	}
	return 0;
}

static int enter(struct host_cgroup *c, pid_t pid, struct err *e)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < c->n; i++) {
		int r = host_cgroup_put_number(c->v[i].dir, "cgroup.procs", pid);

		if (r < 0 && c->required)
			return err_errno(e, -r, "linux.cgroupsPath: %s/cgroup.procs", c->v[i].dir);
		if (r < 0) {
			log_debug("no host cgroup: %s/cgroup.procs: %s", c->v[i].dir, strerror(-r));
			(void)host_cgroup_remove_dir(c->v[i].dir, NULL); // as good as not there
		} else if (kept++ != i) {
			c->v[kept - 1] = c->v[i];
		}
	}
	c->n = kept;
	return 0;
}

// ---- the two managers
static int make_by_files(struct host_cgroup *c, const struct host_layout *l,
			 const struct host_cgroup_plan *plan, struct err *e)
{
	char path[HOST_PATH_BYTES], name[NAME_MAX + 1];
	int r;

	if (plan->path) {
		if ((r = clean_path(plan->path, path, e)) < 0)
			return r;
		if (l->n == 0)
			return err_set(e, ENOENT,
				       "linux.cgroupsPath: cgroup mountpoint does not exist");
		return make_groups(c, l, plan->path[0] == '/', path, e);
	}
	// Ids are unique below one --root only: a group of that name may be of another's container.
	if ((r = clean_path(plan->id, path, e)) < 0 ||
	    (r = make_groups(c, l, false, path, NULL)) != -EEXIST)
		return r;
	if (snprintf(name, sizeof(name), "%s.%ld", plan->id, (long)getpid()) >= (int)sizeof(name))
		return 0; // no room: no group
	if ((r = clean_path(name, path, e)) < 0)
		return r;
	r = make_groups(c, l, false, path, NULL);
	return r == -EEXIST ? 0 : r; // unmade, and nobody asked for it
}

static int make_by_systemd(struct host_cgroup *c, const struct host_layout *l,
			   const struct host_cgroup_plan *plan, pid_t pid, struct err *e)
{
	char slice[HOST_UNIT_BYTES], path[HOST_PATH_BYTES];
	struct host_cgroup_scope_limits limits;
	struct systemd_scope scope = { .unit = c->unit,
				       .slice = slice,
				       .id = plan->id,
				       .pid = pid,
				       .annotations = plan->annotations };
	int r = systemd_scope_names(plan->path, plan->id, slice, c->unit, path, e);

	if (r < 0)
		return r;
	c->required = true;
	host_cgroup_scope_limits(c, plan->resources, &limits);
	scope.cpu_weight = limits.cpu_weight;
	scope.memory_max = limits.memory_max;
	scope.tasks_max = limits.tasks_max;
	r = systemd_scope_start(&scope, e);
	if (r < 0)
		return r;
	r = make_groups(c, l, true, path, e);
	if (r < 0)
		(void)systemd_scope_stop(c->unit, NULL); // another error is told
	return r;
}

static int note_and_enter(struct host_cgroup *c, const struct host_cgroup_plan *plan,
			  const char *record, pid_t pid, struct err *e)
{
	int r = host_cgroup_note(c, record, e);

	if (r == 0 && plan->resources)
		r = host_cgroup_limit(c, plan->resources, true, e);
	return r < 0 ? r : enter(c, pid, e);
}

int host_cgroup_make(const struct host_layout *l, const struct host_cgroup_plan *plan,
		     const char *record, pid_t pid, struct host_cgroup **ret, struct err *e)
{
	struct host_cgroup *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_errno(e, ENOMEM, "linux.cgroupsPath");
	c->required = plan->path != NULL;
	c->machine = plan->guest_bytes != 0;
	c->guest_bytes = plan->guest_bytes;
	c->cpu_quota = -1;
	c->cpu_period = 100000; // the kernel's
	r = plan->systemd ? make_by_systemd(c, l, plan, pid, e) : make_by_files(c, l, plan, e);
	if (r < 0) {
		free(c);
		return r;
	}
	r = note_and_enter(c, plan, record, pid, e);
	if (r < 0) {
		host_cgroup_leave(c);
		(void)host_cgroup_discard(record, NULL); // another error is told
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void host_cgroup_free(struct host_cgroup *c)
{
	free(c);
}

// ---- who is in it
static bool is_thread_of(pid_t pid, pid_t tid)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%ld/task/%ld", (long)pid, (long)tid); // fits
	return tid > 0 && access(path, F_OK) == 0;
}

int host_cgroup_add_vcpus(struct host_cgroup *c, pid_t pid, const pid_t *tids, unsigned n,
			  struct err *e)
{
	char dir[HOST_PATH_BYTES + 8];

	for (unsigned i = 0; i < n; i++) {
		if (!is_thread_of(pid, tids[i]))
			return err_set(e, ESRCH, "%ld is no thread of bulkhead-vmm", (long)tids[i]);
		for (unsigned j = 0; j < c->n; j++) {
			const struct host_group *g = &c->v[j];
			int r;

			if (!g->vcpus)
				continue;
			(void)snprintf(dir, sizeof(dir), "%s/" HOST_CGROUP_VCPUS, g->dir); // fits
			r = host_cgroup_put_number(dir, g->h->v2 ? "cgroup.threads" : "tasks",
						   tids[i]);
			if (r < 0)
				return err_errno(e, -r, "%s", dir);
		}
	}
	return 0;
}

void host_cgroup_leave(struct host_cgroup *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		const struct host_hierarchy *h = c->v[i].h;

		// The root takes processes in any case; a group that was ours before may have gone.
		if (host_cgroup_put_number(h->own, "cgroup.procs", getpid()) < 0)
			(void)host_cgroup_put_number(h->mount, "cgroup.procs",
						     getpid()); // as said
	}
}
