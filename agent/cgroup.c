// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "agent/cgroup_priv.h"
#include "agent/device_filter.h"
#include "agent/limits.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "oci/oci.h"

enum { POD_RESERVE_BYTES = 3 << 20, POD_RESERVE_PART = 128 };

// needs CONFIG_CGROUP_BPF
// needs CONFIG_CGROUP_FREEZER
// needs CONFIG_CGROUP_HUGETLB
// needs CONFIG_CGROUP_PIDS
// needs CONFIG_CPUSETS

#define AGENT_GROUP CGROUP_MOUNT "/:agent"

static int put(int group, const char *file, const char *text)
{
	int fd AUTO_CLOSE = openat(group, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

// Hands on every controller that a group has to those below it.
static int delegate(int group)
{
	char *text AUTO_FREE = NULL, *save = NULL;
	int r = io_read_file(group, "cgroup.controllers", 4096, &text, NULL, NULL);

	if (r < 0)
		return r;
	for (char *name = strtok_r(text, " \n", &save); r == 0 && name;
	     name = strtok_r(NULL, " \n", &save)) {
		char add[64];

		(void)snprintf(add, sizeof(add), "+%s", name); // the kernel's names are short
		r = put(group, "cgroup.subtree_control", add);
	}
	return r;
}

// A container without a cgroup namespace of its own is not to see that there is a group above those it has asked for.
// A namespace's root is where its maker is, so the agent goes there for a moment.
static int make_pod_namespace(struct cgroups *all, int mount, struct err *e)
{
	int r;

	all->agent_ns_fd = open("/proc/self/ns/cgroup", O_RDONLY | O_CLOEXEC);
	r = put(mount, "pod/cgroup.procs", "0");
	if (all->agent_ns_fd < 0 || r < 0 || unshare(CLONE_NEWCGROUP) < 0)
		return err_errno(e, r < 0 ? -r : errno, "entering %s", CGROUP_ROOT);
	all->pod_ns_fd = open("/proc/self/ns/cgroup", O_RDONLY | O_CLOEXEC);
	if (all->pod_ns_fd < 0 || setns(all->agent_ns_fd, CLONE_NEWCGROUP) < 0)
		return err_errno(e, errno, "the cgroup namespace of %s", CGROUP_ROOT);
	return 0;
}

// Without swap a guest whose memory is all used up does not come to the end of it: what little can be reclaimed, the pages
// of running programs, is read back as fast as it goes, for minutes. So the containers together meet a limit before the
// guest does, and whoever goes on allocating is killed at once. What is left is for the agent, and for the kernel to stay
// above the watermarks at which it begins to reclaim (they grow with the square root of memory).
static int limit_pod(int pod, struct err *e)
{
	char text[24];
	struct sysinfo si;
	uint64_t memory, reserve;
	int r;

	(void)sysinfo(&si); // cannot fail
	memory = (uint64_t)si.freeram * si.mem_unit;
	reserve = POD_RESERVE_BYTES + memory / POD_RESERVE_PART;
	(void)snprintf(text, sizeof(text), "%" PRIu64, memory > reserve ? memory - reserve : 0);
	r = put(pod, "memory.max", text);
	return r < 0 ? err_errno(e, -r, "%s/memory.max", CGROUP_ROOT) : 0;
}

int cgroups_prepare(struct cgroups *all, struct err *e)
{
	int mount AUTO_CLOSE = open(CGROUP_MOUNT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int pod AUTO_CLOSE = -1, r;

	if (mount < 0 || (mkdir(AGENT_GROUP, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(CGROUP_ROOT, 0755) < 0 && errno != EEXIST))
		return err_errno(e, errno, "making groups in %s", CGROUP_MOUNT);
	pod = open(CGROUP_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pod < 0)
		return err_errno(e, errno, "%s", CGROUP_ROOT);
	r = make_pod_namespace(all, mount, e);
	if (r < 0)
		return r;
	r = put(mount, ":agent/cgroup.procs", "0");
	if (r < 0)
		return err_errno(e, -r, "entering %s", AGENT_GROUP);
	r = delegate(mount);
	r = r < 0 ? r : delegate(pod);
	if (r < 0)
		return err_errno(e, -r, "controllers of %s", CGROUP_MOUNT);
	return limit_pod(pod, e);
}

pid_t cgroups_clone(const struct cgroups *all, unsigned long flags)
{
	pid_t pid;

	if (all && setns(all->pod_ns_fd, CLONE_NEWCGROUP) < 0)
		return -1;
	pid = (pid_t)syscall(SYS_clone, flags, 0, NULL, NULL, 0);
	if (all && pid != 0)
		(void)setns(all->agent_ns_fd,
			    CLONE_NEWCGROUP); // back to its own: nothing could refuse it
	return pid;
}

// ---- names
static int path_add(char *path, const char *name, size_t len, const char *whole, struct err *e)
{
	size_t at = strlen(path);

	if (len == 0 || (len == 1 && name[0] == '.'))
		return 0;
	if (len > NAME_MAX || at + len + 2 > CGROUP_PATH_BYTES || memchr(name, '\n', len) ||
	    (len == 2 && memcmp(name, "..", 2) == 0))
		return err_set(e, EINVAL, "linux.cgroupsPath: \"%.200s\" is not a path of a group",
			       whole);
	(void)snprintf(path + at, CGROUP_PATH_BYTES - at, "/%.*s", (int)len, name); // fits
	return 0;
}

static int path_of_unit(const char *text, char *path, struct err *e)
{
	const char *prefix = strchr(text, ':') + 1, *name = strchr(prefix, ':') + 1;
	char unit[NAME_MAX + 1];
	size_t len = strlen(name);
	int r, n;

	if (len > 6 && strcmp(name + len - 6, ".slice") == 0)
		n = snprintf(unit, sizeof(unit), "%s", name);
	else
		n = snprintf(unit, sizeof(unit), "%.*s%s%s.scope", (int)(name - 1 - prefix), prefix,
			     name - 1 > prefix ? "-" : "", name);
	if (len == 0 || n < 0 || (size_t)n >= sizeof(unit))
		return err_set(e, EINVAL, "linux.cgroupsPath: \"%.200s\" is not a path of a group",
			       text);
	r = *text == ':' ? path_add(path, "system.slice", 12, text, e)
			 : path_add(path, text, (size_t)(prefix - 1 - text), text, e);
	return r < 0 ? r : path_add(path, unit, strlen(unit), text, e);
}

int cgroup_path(const char *cgroups_path, const char *id, char ret[CGROUP_PATH_BYTES],
		struct err *e)
{
	const char *text = cgroups_path ? cgroups_path : id;
	const char *colon = strchr(text, ':');
	int r = 0;

	ret[0] = '\0';
	if (cgroups_path && !strchr(text, '/') && colon && strchr(colon + 1, ':') &&
	    !strchr(strchr(colon + 1, ':') + 1, ':'))
		return path_of_unit(text, ret, e);
	for (const char *at = text; r == 0 && *at;) {
		size_t len = strcspn(at, "/");

		r = path_add(ret, at, len, text, e);
		at += len + (at[len] == '/');
	}
	if (r == 0 && !ret[0])
		r = err_set(e, EINVAL, "linux.cgroupsPath: \"%.200s\" is the root", text);
	return r;
}

// ---- life
// Makes what is missing on the way, each with its controllers handed on; the last one has to be new.
static int make_path(const char *path, int *ret_fd, struct err *e)
{
	int dir AUTO_CLOSE = open(CGROUP_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (const char *at = path; dir >= 0 && *at;) {
		size_t len = strcspn(at + 1, "/");
		bool last = at[len + 1] == '\0';
		char name[NAME_MAX + 1];
		int next, r;

		(void)snprintf(name, sizeof(name), "%.*s", (int)len, at + 1); // checked before
		if (mkdirat(dir, name, 0755) < 0 && (last || errno != EEXIST)) {
			if (errno == EEXIST)
				return err_set(e, EEXIST,
					       "linux.cgroupsPath: %s: is in use in this pod",
					       path);
			return err_errno(e, errno, "linux.cgroupsPath: %s: mkdir", path);
		}
		next = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		close_fd(dir);
		dir = next;
		r = dir < 0 ? -errno : last ? 0 : delegate(dir);
		if (r == -EBUSY)
			return err_set(e, EBUSY,
				       "linux.cgroupsPath: %s: a group above has processes", path);
		if (r < 0)
			return err_errno(e, -r, "linux.cgroupsPath: %s", path);
		at += len + 1;
	}
	if (dir < 0)
		return err_errno(e, errno, "%s", CGROUP_ROOT);
	*ret_fd = take_fd(&dir);
	return 0;
}

// Bottom up: a container may have made groups of its own.
static void remove_below(int dir, unsigned depth)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	if (!d) {
		close_fd(fd);
		return;
	}
	while (depth < CGROUP_DEPTH_MAX && (entry = readdir(d))) {
		int sub AUTO_CLOSE = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		sub = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (sub >= 0)
			remove_below(sub, depth + 1);
		(void)unlinkat(dir, entry->d_name, AT_REMOVEDIR); // as for the group itself
	}
	(void)closedir(d); // read only
}

// The group, and what is above it if that is empty now.
static int remove_path(int group, const char *path)
{
	char at[CGROUP_PATH_BYTES + sizeof(CGROUP_ROOT)];
	size_t root = sizeof(CGROUP_ROOT) - 1;

	(void)snprintf(at, sizeof(at), "%s%s", CGROUP_ROOT, path); // fits
	if (group >= 0)
		remove_below(group, 0);
	if (rmdir(at) < 0)
		return -errno;
	for (char *slash = strrchr(at, '/'); slash > at + root; slash = strrchr(at, '/')) {
		*slash = '\0';
		if (rmdir(at) < 0)
			break; // in use by another container
	}
	return 0;
}

static void group_free(struct cgroup *g)
{
	cgroup_unwatch(g);
	loop_remove(g->timer);
	close_fd(g->fd);
	close_fd(g->device_prog);
	free(g->path);
	free(g);
}

int cgroup_new(struct cgroups *all, const char *path, void *tag, const struct oci_resources *r,
	       struct cgroup **ret, struct err *e)
{
	struct cgroup *g = calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return err_errno(e, ENOMEM, "cgroup");
	*g = (struct cgroup){ .all = all, .tag = tag, .fd = -1, .device_prog = -1 };
	g->path = strdup(path);
	rc = g->path ? make_path(path, &g->fd, e) : err_errno(e, ENOMEM, "cgroup");
	if (rc < 0) {
		group_free(g);
		return rc;
	}
	rc = cgroup_update(g, r, e);
	if (rc == 0 && g->device_prog < 0) // also without a rule: what is not allowed is denied
		rc = device_filter_attach(g->fd, r, &g->device_prog, e);
	rc = rc < 0 ? rc : cgroup_watch(g, e);
	if (rc < 0) {
		(void)remove_path(g->fd, path); // nothing has entered it
		group_free(g);
		return rc;
	}
	*ret = g;
	return 0;
}

void *cgroup_tag(const struct cgroup *g)
{
	return g->tag;
}

int cgroup_fd(const struct cgroup *g)
{
	return g->fd;
}

int cgroup_update(struct cgroup *g, const struct oci_resources *r, struct err *e)
{
	struct limits_now now;
	struct limits plan;
	int rc;

	limits_now_read(g->fd, &now);
	rc = limits_plan(r, &now, &plan, e);
	rc = rc < 0 ? rc : limits_write(g->fd, &plan, e);
	if (rc == 0 && r->n_devices) {
		rc = device_filter_attach(g->fd, r, &g->device_prog, e);
		if (rc < 0)
			limits_put_back(g->fd, &plan);
	}
	limits_done(&plan);
	return rc;
}

int cgroup_give(const struct cgroup *g, uid_t uid, struct err *e)
{
	char *text AUTO_FREE = NULL, *save = NULL;
	int r = io_read_file(AT_FDCWD, "/sys/kernel/cgroup/delegate", 4096, &text, NULL, e);

	if (r < 0)
		return r;
	if (fchown(cgroup_fd(g), uid, (gid_t)-1) < 0)
		return err_errno(e, errno, "giving the cgroup to uid %u", uid);
	for (char *name = strtok_r(text, "\n", &save); name; name = strtok_r(NULL, "\n", &save))
		if (fchownat(cgroup_fd(g), name, uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 &&
		    errno != ENOENT) // a file of a controller that is not handed on
			return err_errno(e, errno, "giving the cgroup's %s to uid %u", name, uid);
	return 0;
}

int cgroup_enter(const struct cgroup *g, pid_t pid, struct err *e)
{
	char text[24];
	int r;

	(void)snprintf(text, sizeof(text), "%d", pid); // fits
	r = put(g->fd, "cgroup.procs", text);
	return r < 0 ? err_errno(e, -r, "entering cgroup %s", g->path) : 0;
}

int cgroup_open(const struct cgroup *g, const char *below, struct err *e)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	int fd;

	while (*below == '/')
		below++;
	fd = (int)syscall(SYS_openat2, g->fd, *below ? below : ".", &how, sizeof(how));
	return fd < 0 ? err_errno(e, errno, "cgroup %s", below) : fd;
}

// ---- its processes
void cgroup_kill(struct cgroup *g)
{
	(void)put(g->fd, "cgroup.kill", "1"); // an empty group has nothing to kill
}

static int add_pids(int group, pid_t **v, size_t *n)
{
	char *text AUTO_FREE = NULL, *save = NULL;
	int r = io_read_file(group, "cgroup.procs", 1 << 22, &text, NULL, NULL);

	if (r < 0)
		return r == -EOPNOTSUPP ? 0 : r; // a threaded group: its processes are above
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		pid_t *more = reallocarray(*v, *n + 1, sizeof(**v));

		if (!more)
			return -ENOMEM;
		*v = more;
		more[(*n)++] = (pid_t)atoi(line);
	}
	return 0;
}

static int collect(int group, unsigned depth, pid_t **v, size_t *n)
{
	int fd = openat(group, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	int r = d ? add_pids(group, v, n) : -errno;

	if (!d)
		close_fd(fd);
	while (d && r == 0 && depth < CGROUP_DEPTH_MAX && (entry = readdir(d))) {
		int sub AUTO_CLOSE = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		sub = openat(group, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		r = sub < 0 ? 0 : collect(sub, depth + 1, v, n); // one that has just gone has none
	}
	if (d)
		(void)closedir(d); // read only
	return r;
}

int cgroup_pids(const struct cgroup *g, pid_t **ret, size_t *ret_n, struct err *e)
{
	pid_t *v = NULL;
	size_t n = 0;
	int r = collect(g->fd, 0, &v, &n);

	if (r < 0) {
		free(v);
		return err_errno(e, -r, "processes of cgroup %s", g->path);
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static int signal_all(const struct cgroup *g, int signo)
{
	pid_t *v AUTO_FREE = NULL;
	size_t n = 0;
	int r = cgroup_pids(g, &v, &n, NULL);

	for (size_t i = 0; r == 0 && i < n; i++)
		if (v[i] > 1) // 0: of a pid namespace that is not below the agent's
			(void)kill(v[i], signo); // one that has just ended needs no signal
	return r;
}

// ---- frozen
static void freeze_end(struct cgroup *g, int r)
{
	cgroup_done_fn *done = take_ptr(&g->freeze_done);

	loop_remove(g->timer);
	g->timer = NULL;
	if (r < 0)
		cgroup_thaw(g);
	if (done)
		done(g->freeze_arg, r);
}

static void on_freeze_timer(void *arg)
{
	freeze_end(arg, -ETIMEDOUT);
}

int cgroup_freeze(struct cgroup *g, cgroup_done_fn *done, void *arg)
{
	int r;

	if (g->freeze_done || g->ending)
		return -EBUSY;
	g->freeze_done = done;
	g->freeze_arg = arg;
	r = loop_add_timer(g->all->loop, "freeze", CGROUP_FREEZE_MS, on_freeze_timer, g, &g->timer,
			   NULL);
	r = r < 0 ? r : put(g->fd, "cgroup.freeze", "1");
	g->frozen = r == 0;
	if (r < 0)
		freeze_end(g, r);
	else
		cgroup_check(g); // it may have happened already
	return 0;
}

void cgroup_thaw(struct cgroup *g)
{
	g->frozen = false;
	(void)put(g->fd, "cgroup.freeze", "0"); // was written before
}

bool cgroup_frozen(const struct cgroup *g)
{
	return g->frozen && !g->signalling;
}

struct signalling {
	struct cgroup *g;
	int signo;
	cgroup_done_fn *done;
	void *arg;
};

// Also when they did not all stop in time: the signal is for as many as can be reached.
static void on_stopped_for_signal(void *arg, int frozen)
{
	struct signalling *s = arg;
	int r = signal_all(s->g, s->signo);

	s->g->signalling = false;
	if (frozen == 0)
		cgroup_thaw(s->g);
	s->done(s->arg, r);
	free(s);
}

void cgroup_signal(struct cgroup *g, int signo, cgroup_done_fn *done, void *arg)
{
	struct signalling *s;

	if (signo == SIGKILL) {
		cgroup_kill(g);
		done(arg, 0);
		return;
	}
	s = g->frozen ? NULL : malloc(sizeof(*s));
	if (s) {
		*s = (struct signalling){ g, signo, done, arg };
		g->signalling = !g->freeze_done; // otherwise it is about to be paused
		if (cgroup_freeze(g, on_stopped_for_signal, s) == 0)
			return;
		free(s);
	}
	done(arg, signal_all(g, signo)); // it stands still, or is about to
}

// ---- the end
static void ended(struct cgroup *g)
{
	void (*done)(void *) = g->end_done;
	void *arg = g->end_arg;

	group_free(g);
	if (done)
		done(arg);
}

static void on_end_timer(void *arg)
{
	struct cgroup *g = arg;

	log_error("cgroup %s does not become empty", g->path); // goes with the guest
	ended(g);
}

void cgroup_try_remove(struct cgroup *g)
{
	if (g->ending && remove_path(g->fd, g->path) == 0)
		ended(g);
}

void cgroup_end(struct cgroup *g, void (*done)(void *arg), void *arg)
{
	if (g->freeze_done)
		freeze_end(g, -EPIPE);
	g->ending = true;
	g->end_done = done;
	g->end_arg = arg;
	cgroup_kill(g);
	if (remove_path(g->fd, g->path) == 0 ||
	    loop_add_timer(g->all->loop, "cgroup end", CGROUP_END_MS, on_end_timer, g, &g->timer,
			   NULL) < 0)
		ended(g);
}

void cgroup_look(struct cgroup *g, bool frozen, bool populated)
{
	if (frozen && g->freeze_done)
		freeze_end(g, 0);
	else if (!populated)
		cgroup_try_remove(g); // g may be gone now
}
