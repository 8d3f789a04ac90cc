// SPDX-License-Identifier: Apache-2.0
// The three layouts of cgroups on plain directories that are made to look like them: what is found, what is written where,
// what is refused, what is removed. And once on those that the machine has.
//   test_runtime_host_cgroup [PATTERN]   only the tests whose names match
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/host_cgroup.h"
#include "runtime/host_layout.h"
#include "runtime/tree.h"

enum { PATH_BYTES = 512 };
static char root[64];

static int make_root(void **state)
{
	char path[PATH_BYTES];

	(void)state;
	(void)snprintf(root, sizeof(root), "/tmp/test_cgroup.XXXXXX"); // fits
	if (!mkdtemp(root))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/note", root); // fits
	return mkdir(path, 0700);
}

static int remove_root(void **state)
{
	(void)state;
	return tree_remove(root, NULL);
}

static const char *under(const char *name)
{
	static char path[4][PATH_BYTES];
	static unsigned at;

	at = (at + 1) % 4;
	(void)snprintf(path[at], PATH_BYTES, "%s/%s", root, name); // fits
	return path[at];
}

static void file(const char *name, const char *text)
{
	char dir[PATH_BYTES];

	(void)snprintf(dir, sizeof(dir), "%s", under(name)); // as long
	*strrchr(dir, '/') = '\0';
	assert_int_equal(tree_make_dirs(dir, 0755, NULL), 0);
	assert_int_equal(io_write_file(AT_FDCWD, under(name), text, strlen(text), 0644, NULL), 0);
}

static void has(const char *name, const char *want)
{
	char *text AUTO_FREE = NULL;

	assert_int_equal(io_read_file(AT_FDCWD, under(name), 4096, &text, NULL, NULL), 0);
	assert_string_equal(text, want);
}

static bool there(const char *name)
{
	return access(under(name), F_OK) == 0;
}

// "ROOT" in the text becomes the directory of this test.
static char *at_root(const char *text)
{
	char *ret = calloc(1, 8192);

	assert_non_null(ret);
	for (size_t n = 0; *text; n = strlen(ret)) {
		if (strncmp(text, "ROOT", 4) == 0) {
			memcpy(ret + n, root, strlen(root));
			text += 4;
		} else {
			ret[n] = *text++;
		}
	}
	return ret;
}

static const char v2_mounts[] =
	"22 1 8:1 / / rw - ext4 /dev/sda rw\n"
	"30 23 0:26 / ROOT/v2 rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
static const char v2_groups[] = "0::/user.slice/shell.scope\n";
static const char v1_mounts[] =
	"31 23 0:28 / ROOT rw - tmpfs tmpfs rw,mode=755\n"
	"32 31 0:29 / ROOT/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
	"33 31 0:30 / ROOT/set rw - cgroup cgroup rw,cpuset\n"
	"34 31 0:31 /docker/7 ROOT/mem rw - cgroup cgroup rw,memory\n"
	"35 31 0:32 / ROOT/my\\040pids rw - cgroup cgroup rw,pids\n";
static const char v1_groups[] = "5:pids:/\n4:memory:/docker/7/sub\n3:cpuset:/\n2:cpu,cpuacct:/up\n";

static void layout_of(const char *mounts, const char *groups, struct host_layout *l)
{
	char *m AUTO_FREE = at_root(mounts);

	assert_int_equal(host_layout_read(m, groups, l, NULL), 0);
}

// ---- what is found
static void finds_v2(void **state)
{
	struct host_layout l;

	(void)state;
	file("v2/cgroup.controllers", "cpuset cpu io memory pids\n");
	layout_of(v2_mounts, v2_groups, &l);
	assert_string_equal(host_layout_name(&l), "v2");
	assert_int_equal(l.n, 1);
	assert_string_equal(l.v[0].own, under("v2/user.slice/shell.scope"));
	assert_true(host_hierarchy_has(&l.v[0], "cpu"));
	assert_true(host_hierarchy_has(&l.v[0], "pids"));
	assert_false(host_hierarchy_has(&l.v[0], "cpuac"));
	host_layout_done(&l);
}

static void finds_v1(void **state)
{
	struct host_layout l;

	(void)state;
	layout_of(v1_mounts, v1_groups, &l);
	assert_string_equal(host_layout_name(&l), "v1");
	assert_int_equal(l.n, 4);
	assert_string_equal(l.v[0].mount, under("my pids"));
	// Only a part of that hierarchy is mounted: the path is below it.
	assert_string_equal(l.v[1].own, under("mem/sub"));
	assert_string_equal(l.v[3].own, under("cpu/up"));
	assert_true(host_hierarchy_has(&l.v[3], "cpu"));
	assert_true(host_hierarchy_has(&l.v[3], "cpuacct"));
	host_layout_done(&l);
}

static void finds_hybrid_and_none(void **state)
{
	char *both AUTO_FREE = NULL;
	struct host_layout l;

	(void)state;
	assert_true(asprintf(&both, "%s%s", v1_mounts, v2_mounts) > 0);
	layout_of(both, "2:cpu,cpuacct:/\n1:name=systemd:/x\n0::/x\n", &l);
	assert_string_equal(host_layout_name(&l), "hybrid");
	assert_int_equal(l.n, 2);                    // name=systemd is not mounted
	assert_string_equal(l.v[1].controllers, ""); // all are v1's
	host_layout_done(&l);
	layout_of("22 1 8:1 / / rw - ext4 /dev/sda rw\nnonsense\n", v2_groups, &l);
	assert_string_equal(host_layout_name(&l), "none");
	host_layout_done(&l);
	// A namespace that does not show where we are.
	layout_of(v2_mounts, "0::/../../other\n", &l);
	assert_string_equal(l.v[0].own, under("v2"));
	host_layout_done(&l);
}

// ---- what is written
static const struct oci_resources some = {
	.memory_limit = { true, 64 << 20 },
	.cpu_shares = { true, 1024 },
	.cpu_quota = { true, 50000 },
	.cpu_period = { true, 200000 },
	.cpu_cpus = "0-1",
};

static int make(struct host_layout *l, const char *path, const struct oci_resources *res,
		struct host_cgroup **ret, struct err *e)
{
	struct host_cgroup_plan plan = {
		.id = "one", .path = path, .resources = res, .guest_bytes = 128 << 20
	};

	return host_cgroup_make(l, &plan, under("note"), getpid(), ret, e);
}

// The files that the kernel would make.
static void v2_group(const char *dir)
{
	static const char *const files[] = { "cgroup.procs",
					     "cgroup.subtree_control",
					     "cpu.weight",
					     "memory.max",
					     "pids.max",
					     "vcpus/cgroup.type",
					     "vcpus/cgroup.threads",
					     "vcpus/cpu.max",
					     "vcpus/cpuset.cpus",
					     "vcpus/cpuset.mems" };
	char name[128];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(name, sizeof(name), "%s/%s", dir, files[i]); // fits
		file(name, "");
	}
}

static void writes_v2(void **state)
{
	struct oci_resources quota = { .cpu_quota = { true, -1 }, .cpu_cpus = "1" };
	struct host_cgroup *c = NULL;
	struct host_layout l;
	char pid[24];
	pid_t self = getpid();
	struct err e;

	(void)state;
	file("v2/cgroup.controllers", "cpuset cpu memory pids\n");
	file("v2/cgroup.subtree_control", "");
	v2_group("v2/pod/one");
	file("v2/pod/cgroup.subtree_control", "");
	layout_of(v2_mounts, v2_groups, &l);
	assert_int_equal(make(&l, "/pod//./one/", &some, &c, &e), 0);
	(void)snprintf(pid, sizeof(pid), "%d", (int)self); // fits
	has("v2/pod/one/cgroup.procs", pid);
	has("v2/pod/cgroup.subtree_control",
	    "+pidsry"); // over the one before it: a plain file keeps +memory's end
	has("v2/pod/one/cpu.weight", "100");
	has("v2/pod/one/memory.max", "469762048"); // 128 MiB and 320
	has("v2/pod/one/pids.max", "4096");
	has("v2/pod/one/vcpus/cgroup.type", "threaded");
	has("v2/pod/one/vcpus/cpu.max", "50000 200000");
	has("v2/pod/one/vcpus/cpuset.cpus", "0-1");
	has("v2/pod/one/vcpus/cpuset.mems", "");
	assert_int_equal(host_cgroup_add_vcpus(c, self, &self, 1, &e), 0);
	has("v2/pod/one/vcpus/cgroup.threads", pid);
	file("v2/pod/one/vcpus/cpu.max", "");
	file("v2/pod/one/vcpus/cpuset.cpus", "");
	assert_int_equal(host_cgroup_update(c, &quota, &e), 0);
	has("v2/pod/one/vcpus/cpu.max", "max 200000"); // the period stays
	has("v2/pod/one/vcpus/cpuset.cpus", "1");
	host_cgroup_free(c);
	host_layout_done(&l);
}

// cpu alone would make such a group a threaded domain, and ours in it invalid.
static void a_group_with_processes_hands_nothing_on(void **state)
{
	struct host_cgroup *c = NULL;
	struct host_layout l;

	(void)state;
	file("v2/cgroup.controllers", "cpu cpuset memory pids\n");
	file("v2/cgroup.subtree_control", "");
	file("v2/cgroup.procs", "1\n"); // the root may have both
	file("v2/busy/cgroup.subtree_control", "");
	file("v2/busy/cgroup.type", "domain\n");
	file("v2/busy/cgroup.procs", "5\n");
	v2_group("v2/busy/one");
	layout_of(v2_mounts, v2_groups, &l);
	assert_int_equal(make(&l, "/busy/one", NULL, &c, NULL), 0);
	has("v2/cgroup.subtree_control", "+pidsry");
	has("v2/busy/cgroup.subtree_control", "");
	host_cgroup_free(c);
	host_layout_done(&l);
}

static void v1_groups_of(const char *pod)
{
	static const char *const files[] = { "my pids/%s/cgroup.procs",
					     "my pids/%s/pids.max",
					     "mem/%s/cgroup.procs",
					     "mem/%s/memory.limit_in_bytes",
					     "set/%s/cgroup.procs",
					     "set/%s/cpuset.cpus",
					     "set/%s/cpuset.mems",
					     "set/%s/vcpus/cpuset.cpus",
					     "set/%s/vcpus/cpuset.mems",
					     "set/%s/vcpus/tasks",
					     "cpu/%s/cgroup.procs",
					     "cpu/%s/cpu.shares",
					     "cpu/%s/vcpus/tasks",
					     "cpu/%s/vcpus/cpu.cfs_quota_us",
					     "cpu/%s/vcpus/cpu.cfs_period_us" };
	char *name;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		const char *mark = strstr(files[i], "%s");

		assert_true(asprintf(&name, "%.*s%s%s", (int)(mark - files[i]), files[i], pod,
				     mark + 2) > 0);
		file(name, "");
		free(name);
	}
}

static void writes_v1(void **state)
{
	struct host_cgroup *c = NULL;
	struct host_layout l;
	char pid[24];
	pid_t self = getpid();
	struct err e;

	(void)state;
	file("set/cpuset.cpus", "0-3\n");
	file("set/cpuset.mems", "0\n");
	v1_groups_of("a");
	layout_of(v1_mounts, v1_groups, &l);
	assert_int_equal(make(&l, "/a", &some, &c, &e), 0);
	(void)snprintf(pid, sizeof(pid), "%d", (int)self); // fits
	has("my pids/a/cgroup.procs", pid);
	has("mem/a/cgroup.procs", pid);
	has("set/a/cgroup.procs", pid);
	has("cpu/a/cgroup.procs", pid);
	has("my pids/a/pids.max", "4096");
	has("mem/a/memory.limit_in_bytes", "469762048");
	has("set/a/cpuset.cpus", "0-3\n"); // from the group above: v1 takes no process without
	has("set/a/cpuset.mems", "0\n");
	has("set/a/vcpus/cpuset.cpus", "0-1\n"); // over what came from above
	has("cpu/a/cpu.shares", "1024");
	has("cpu/a/vcpus/cpu.cfs_quota_us", "50000");
	has("cpu/a/vcpus/cpu.cfs_period_us", "200000");
	assert_int_equal(host_cgroup_add_vcpus(c, self, &self, 1, &e), 0);
	has("cpu/a/vcpus/tasks", pid);
	has("set/a/vcpus/tasks", pid);
	assert_false(there("mem/a/vcpus"));
	host_cgroup_free(c);
	host_layout_done(&l);
}

// A member's proxy: no machine, no limits, no threads.
static void writes_for_a_proxy(void **state)
{
	struct host_cgroup_plan plan = { .id = "m", .path = "/m", .resources = &some };
	struct host_cgroup *c = NULL;
	struct host_layout l;

	(void)state;
	file("v2/cgroup.controllers", "cpu memory pids\n");
	file("v2/m/cgroup.procs", "");
	layout_of(v2_mounts, v2_groups, &l);
	assert_int_equal(host_cgroup_make(&l, &plan, under("note"), getpid(), &c, NULL), 0);
	assert_false(there("v2/m/vcpus"));
	// What is noted is where the next one is put.
	file("v2/m/cgroup.procs", "");
	assert_int_equal(host_cgroup_join(under("note"), 4242, NULL), 1);
	has("v2/m/cgroup.procs", "4242");
	assert_int_equal(host_cgroup_join(under("v2"), 4242, NULL), 0);
	host_cgroup_free(c);
	host_layout_done(&l);
}

// ---- what is refused
static void refuses(void **state)
{
	static const struct {
		const char *path, *text;
	} rows[] = {
		{ "/a/../b", "linux.cgroupsPath: \"/a/../b\" is not a path of a group" },
		{ "..", "linux.cgroupsPath: \"..\" is not a path of a group" },
		{ "/./", "linux.cgroupsPath: \"/./\" is the root" },
		{ "/busy", "container's cgroup is not empty: 2 process(es) found in " },
		{ "/new", "linux.cgroupsPath: " }, // no files: nothing can be put in
	};
	struct host_cgroup *c = NULL;
	struct host_layout l, none = { 0 };
	struct err e;

	(void)state;
	file("v2/cgroup.controllers", "memory pids\n");
	file("v2/busy/cgroup.procs", "1\n2\n");
	layout_of(v2_mounts, v2_groups, &l);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(make(&l, rows[i].path, NULL, &c, &e) < 0);
		assert_non_null(strstr(e.msg, rows[i].text));
		assert_false(there("note/host-cgroup.json"));
	}
	assert_false(there("v2/new"));
	has("v2/busy/cgroup.procs", "1\n2\n");
	assert_int_equal(make(&none, "/a", NULL, &c, &e), -ENOENT);
	assert_string_equal(e.msg, "linux.cgroupsPath: cgroup mountpoint does not exist");
	// A limit that needs a controller which is not there.
	file("v2/pod/cgroup.procs", "");
	assert_int_equal(make(&l, "/pod", &some, &c, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.msg, "the host's cgroup has no memory controller"));
	host_layout_done(&l);
}

static void goes_without_when_not_asked(void **state)
{
	struct host_cgroup *c = NULL;
	struct host_layout l, none = { 0 };
	pid_t self = getpid();

	(void)state;
	assert_int_equal(make(&none, NULL, &some, &c, NULL), 0);
	assert_int_equal(host_cgroup_update(c, &some, NULL), 0);
	host_cgroup_free(c);
	// A hierarchy that takes nothing: it has none of the kernel's files.
	assert_int_equal(tree_make_dirs(under("v2/user.slice/shell.scope"), 0755, NULL), 0);
	layout_of(v2_mounts, v2_groups, &l);
	assert_int_equal(make(&l, NULL, &some, &c, NULL), 0);
	assert_false(there("v2/user.slice/one"));
	assert_int_equal(host_cgroup_add_vcpus(c, self, &self, 1, NULL), 0);
	host_cgroup_free(c);
	assert_int_equal(host_cgroup_discard(under("note"), NULL), 0);
	host_layout_done(&l);
}

static void refuses_threads_of_others(void **state)
{
	struct host_cgroup *c = NULL;
	struct host_layout l;
	pid_t other = fork(), zero = 0;
	char text[64];
	struct err e;

	(void)state;
	if (other == 0) {
		(void)pause();
		_exit(0);
	}
	file("v2/cgroup.controllers", "cpu cpuset memory pids\n");
	v2_group("v2/one");
	layout_of(v2_mounts, v2_groups, &l);
	assert_int_equal(make(&l, "/one", NULL, &c, &e), 0);
	assert_int_equal(host_cgroup_add_vcpus(c, getpid(), &other, 1, &e), -ESRCH);
	(void)snprintf(text, sizeof(text), "%d is no thread of bulkhead-vmm", (int)other);
	assert_string_equal(e.msg, text);
	assert_int_equal(host_cgroup_add_vcpus(c, getpid(), &zero, 1, &e), -ESRCH);
	has("v2/one/vcpus/cgroup.threads", "");
	(void)kill(other, SIGKILL);
	(void)waitpid(other, NULL, 0);
	host_cgroup_free(c);
	host_layout_done(&l);
}

// Where a relative path begins: below our own group in v1, beside it in v2.
static void relative_paths(void **state)
{
	struct host_cgroup *c = NULL;
	struct host_layout l;

	(void)state;
	file("v2/user.slice/rel/cgroup.procs", "");
	file("cpu/up/rel/cgroup.procs", "");
	layout_of(v2_mounts, v2_groups, &l);
	assert_int_equal(make(&l, "rel", NULL, &c, NULL), 0);
	host_cgroup_free(c);
	host_layout_done(&l);
	layout_of(v1_mounts, "2:cpu,cpuacct:/up\n", &l);
	assert_int_equal(tree_make_dirs(under("cpu/up/rel/vcpus"), 0755, NULL), 0);
	assert_int_equal(make(&l, "rel", NULL, &c, NULL), 0);
	assert_true(there("cpu/up/rel/vcpus"));
	host_cgroup_free(c);
	host_layout_done(&l);
}

// ---- what is removed
static void removes(void **state)
{
	struct host_cgroup *c = NULL;
	struct host_layout l;
	char pid[24];
	int status;
	pid_t child;

	(void)state;
	file("v2/cgroup.controllers", "cpu\n");
	v2_group("v2/one");
	layout_of(v2_mounts, v2_groups, &l);
	assert_int_equal(make(&l, "/one", NULL, &c, NULL), 0);
	child = fork();
	if (child == 0) {
		(void)pause();
		_exit(0);
	}
	(void)snprintf(pid, sizeof(pid), "%d\n0\n", (int)child); // 0: of another pid namespace
	file("v2/one/cgroup.procs", pid);
	// On a plain directory the files are in the way, which is an error; but what was in the group is dead.
	assert_true(host_cgroup_discard(under("note"), NULL) < 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(there("note/host-cgroup.json"));
	assert_int_equal(tree_remove(under("v2/one"), NULL), 0);
	assert_int_equal(tree_make_dirs(under("v2/one/vcpus/deeper"), 0755, NULL), 0);
	assert_int_equal(host_cgroup_discard(under("note"), NULL), 0);
	assert_false(there("v2/one"));
	assert_true(there("v2"));
	assert_false(there("note/host-cgroup.json"));
	assert_int_equal(host_cgroup_discard(under("note"), NULL), 0);
	host_cgroup_free(c);
	host_layout_done(&l);
}

// ---- on the machine's own hierarchies
static void *spin(void *tid)
{
	__atomic_store_n((pid_t *)tid, gettid(), __ATOMIC_RELEASE);
	for (;;)
		__asm__ volatile("pause");
	return NULL;
}

// As a pod's: the group, this process in it, a thread that never rests under the quota. 'k', or what went wrong.
static _Noreturn void be_a_pod(struct host_layout *l, const char *path, int fd)
{
	struct oci_resources res = { .cpu_quota = { true, 5000 }, .cpu_shares = { true, 512 } };
	struct host_cgroup *c = NULL;
	struct err e = { .msg = "k" };
	pid_t tid = 0;
	pthread_t t;

	if (make(l, path, &res, &c, &e) == 0 && pthread_create(&t, NULL, spin, &tid) == 0) {
		while (__atomic_load_n(&tid, __ATOMIC_ACQUIRE) == 0)
			(void)sched_yield();
		(void)host_cgroup_add_vcpus(c, getpid(), &tid, 1, &e);
	}
	(void)!write(fd, e.msg, strlen(e.msg));
	for (;;)
		(void)pause();
}

static bool throttled(const char *dir)
{
	char path[PATH_BYTES], *text AUTO_FREE = NULL, *at;

	(void)snprintf(path, sizeof(path), "%s/vcpus/cpu.stat", dir);
	if (io_read_file(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
		return false;
	at = strstr(text, "nr_throttled ");
	return at && at[strlen("nr_throttled ")] != '0';
}

static const char *cpu_mount(const struct host_layout *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (host_hierarchy_has(&l->v[i], "cpu"))
			return l->v[i].mount;
	return NULL;
}

// Everything of a pod's group on l. What a container's cgroups do not allow is no failure of ours: it is printed.
static void live_and_die(struct host_layout *l, const char *cpu)
{
	char path[64], dir[PATH_BYTES], said[ERR_MSG_BYTES] = { 0 };
	const struct timespec tick = { .tv_nsec = 20000000 };
	int p[2], status;
	pid_t child;

	(void)snprintf(path, sizeof(path), "/bulkhead-unit.%d", (int)getpid());
	(void)snprintf(dir, sizeof(dir), "%s%s", cpu, path);
	assert_int_equal(pipe(p), 0);
	child = fork();
	if (child == 0)
		be_a_pod(l, path, p[1]);
	assert_true(read(p[0], said, sizeof(said) - 1) > 0);
	if (strcmp(said, "k") == 0) {
		for (unsigned i = 0; i < 3000 && !throttled(dir); i++)
			(void)nanosleep(&tick, NULL);
		assert_true(throttled(dir));
		print_message("# a pod's group was made on the real %s\n", host_layout_name(l));
		assert_int_equal(host_cgroup_discard(under("note"), NULL), 0);
		assert_int_equal(access(dir, F_OK), -1);
	} else {
		print_message("# not on the real hierarchies: %s\n", said);
		(void)kill(child, SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close_fd(p[0]);
	close_fd(p[1]);
}

static void real_hierarchies(void **state)
{
	struct host_layout l;

	(void)state;
	assert_int_equal(host_layout_read(NULL, NULL, &l, NULL), 0);
	if (cpu_mount(&l) && geteuid() == 0)
		live_and_die(&l, cpu_mount(&l));
	else
		print_message("# not on the real hierarchies: not root, or no cpu controller\n");
	host_layout_done(&l);
}

int main(int argc, char **argv)
{
#define ROW(fn) cmocka_unit_test_setup_teardown(fn, make_root, remove_root)
	const struct CMUnitTest tests[] = {
		ROW(finds_v2),
		ROW(finds_v1),
		ROW(finds_hybrid_and_none),
		ROW(writes_v2),
		ROW(a_group_with_processes_hands_nothing_on),
		ROW(writes_v1),
		ROW(writes_for_a_proxy),
		ROW(refuses),
		ROW(goes_without_when_not_asked),
		ROW(refuses_threads_of_others),
		ROW(relative_paths),
		ROW(removes),
		ROW(real_hierarchies),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
