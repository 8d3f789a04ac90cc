// SPDX-License-Identifier: Apache-2.0
// The state directory: ids, locks, state.json and back, processes by pid and start time, removal that stops at mounts.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/store.h"
#include "runtime/tree.h"

static char root[64];

static int make_root(void **state)
{
	(void)state;
	(void)snprintf(root, sizeof(root), "/tmp/test_store.XXXXXX"); // fits
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	(void)state;
	return tree_remove(root, NULL);
}

static void ids(void **state)
{
	static const char *const good[] = { "a", "A-b_c+d.e", "0", "...", ".a" };
	static const char *const bad[] = { "",    ".",        "..",   "a/b", "a b",
					   "a\n", "\xc3\xa9", "../x", "a:b" };
	char long_id[1100];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(store_check_id(good[i], &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(store_check_id(bad[i], &e), -EINVAL);
		assert_non_null(strstr(e.msg, "invalid container ID format"));
	}
	memset(long_id, 'a', sizeof(long_id));
	long_id[1025] = '\0';
	assert_int_equal(store_check_id(long_id, &e), -EINVAL);
	long_id[256] = '\0';
	assert_int_equal(store_check_id(long_id, &e), -EINVAL);
	long_id[255] = '\0';
	assert_int_equal(store_check_id(long_id, &e), 0);
}

static void locks(void **state)
{
	int a, b;
	struct err e;

	(void)state;
	assert_int_equal(store_lock(root, "x", false, &e), -ENOENT);
	assert_string_equal(e.msg, "container does not exist");
	a = store_lock(root, "x", true, &e);
	assert_true(a >= 0);
	assert_int_equal(store_lock(root, "x", true, &e), -EEXIST);
	assert_string_equal(e.msg, "container with given ID already exists");
	close_fd(a);
	b = store_lock(root, "x", true, &e);
	assert_true(b >= 0);
	assert_int_equal(store_remove(root, "x", &e), 0);
	close_fd(b);
	assert_int_equal(store_lock(root, "x", false, &e), -ENOENT);
}

static void state_and_back(void **state)
{
	struct store_container c = { .id = strdup("box"),
				     .pod = strdup("box"),
				     .bundle = strdup("/a \"b\""),
				     .rootfs = strdup("/r"),
				     .created = strdup("then"),
				     .annotations = strdup("{\"k\":\"v\"}"),
				     .proxy = { 12, UINT64_MAX },
				     .supervisor = { 13, 5 } },
			       d = { 0 };
	struct err e;
	char **list = NULL;
	int lock = store_lock(root, "box", true, &e);

	(void)state;
	assert_true(lock >= 0);
	assert_false(store_exists(root, "box"));
	assert_int_equal(store_list(root, &list, &e), 0);
	assert_null(list[0]); // no state.json yet
	store_ids_free(list);
	assert_int_equal(store_container_read(root, "box", &d, &e), -ENOENT);
	assert_int_equal(store_container_write(root, &c, &e), 0);
	assert_true(store_exists(root, "box"));
	assert_int_equal(store_container_read(root, "box", &d, &e), 0);
	assert_string_equal(d.bundle, c.bundle);
	assert_string_equal(d.annotations, c.annotations);
	assert_true(d.proxy.start_time == UINT64_MAX && d.supervisor.pid == 13);
	assert_int_equal(store_list(root, &list, &e), 0);
	assert_string_equal(list[0], "box");
	assert_null(list[1]);
	store_ids_free(list);
	store_container_done(&c);
	store_container_done(&d);
	assert_int_equal(store_remove(root, "box", &e), 0);
	assert_int_equal(store_list("/nowhere-at-all", &list, &e), -ENOENT);
	assert_string_equal(e.msg, "open /nowhere-at-all: no such file or directory");
	close_fd(lock);
}

static void damaged_state(void **state)
{
	struct store_container d;
	char path[128];
	struct err e;
	FILE *f;
	int lock = store_lock(root, "bad", true, &e);

	(void)state;
	assert_true(lock >= 0);
	(void)snprintf(path, sizeof(path), "%s/containers/bad/state.json", root); // fits
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs("{\"id\":\"bad\",\"pod\":7}", f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(store_container_read(root, "bad", &d, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "pod: expected a string"));
	assert_int_equal(store_remove(root, "bad", &e), 0);
	close_fd(lock);
}

static void processes(void **state)
{
	struct store_process self, child;
	pid_t pid;
	int fd;

	(void)state;
	assert_int_equal(store_process_read(getpid(), &self), 0);
	assert_true(store_process_alive(&self));
	self.start_time++;
	assert_false(store_process_alive(&self)); // the same pid, another process
	assert_int_equal(store_process_open(&self), -ESRCH);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)pause(); // until killed
		_exit(0);
	}
	assert_int_equal(store_process_read(pid, &child), 0);
	fd = store_process_open(&child);
	assert_true(fd >= 0);
	close_fd(fd);
	assert_int_equal(kill(pid, SIGKILL), 0);
	{
		siginfo_t si;

		assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	}
	assert_int_equal(store_process_read(pid, &child), -ESRCH); // a zombie is not alive
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

// In a process of its own, for its mount namespace. 2: not allowed to mount here.
static int remove_over_mount(const char *dir)
{
	char inner[128], outer[128], file[160];
	struct err e = { .msg = "" };
	int fd;

	(void)snprintf(inner, sizeof(inner), "%s/m/inner", dir);  // fits
	(void)snprintf(outer, sizeof(outer), "%s/precious", dir); // fits
	(void)snprintf(file, sizeof(file), "%s/file", outer);     // fits
	if (tree_make_dirs(inner, 0700, &e) < 0 || mkdir(outer, 0700) < 0)
		return 1;
	fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return 1;
	close_fd(fd);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(outer, inner, NULL, MS_BIND, NULL) < 0)
		return 2;
	(void)snprintf(inner, sizeof(inner), "%s/m", dir); // fits
	if (tree_remove(inner, &e) != -EBUSY)
		return 3;
	return access(file, F_OK) == 0 ? 0 : 4;
}

// A bind mount of the same file system has the same device number: it must still stop the removal.
static void removal_stops_at_mounts(void **state)
{
	int status = 0;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(remove_over_mount(root));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
		print_message("# not tested: no mount namespace to be had\n");
		return;
	}
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids),
		cmocka_unit_test(locks),
		cmocka_unit_test(state_and_back),
		cmocka_unit_test(damaged_state),
		cmocka_unit_test(processes),
		cmocka_unit_test(removal_stops_at_mounts),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
