// SPDX-License-Identifier: Apache-2.0
// Scopes of systemd, against a manager of our own at the other end of a socket: it answers as a bus and as systemd, writes
// down what it is asked for, and makes the cgroup if it is told where.
//   test_runtime_systemd SOCKET CALLS [CGROUP-MOUNT]   is that manager alone, until its standard input ends
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/systemd_scope.h"
#include "runtime/tree.h"

// ---- the manager
struct manager {
	FILE *calls;
	const char *mount; // of a cgroup hierarchy; NULL: none
	uint32_t pid;
	char unit[256], slice[256];
};

static void put_value(struct manager *g, sd_bus_message *m, const char *name)
{
	const char *type, *text = "";
	uint64_t t = 0;
	uint32_t u = 0;
	int32_t i = 0;
	int b = 0;

	(void)sd_bus_message_peek_type(m, NULL, &type);
	(void)sd_bus_message_enter_container(m, 'v', type);
	(void)fprintf(g->calls, "%s %s", name, type);
	if (strcmp(type, "s") == 0 && sd_bus_message_read(m, "s", &text) > 0)
		(void)fprintf(g->calls, " %s", text);
	if (strcmp(type, "t") == 0 && sd_bus_message_read(m, "t", &t) > 0)
		(void)fprintf(g->calls, " %llu", (unsigned long long)t);
	if (strcmp(type, "b") == 0 && sd_bus_message_read(m, "b", &b) > 0)
		(void)fprintf(g->calls, " %d", b);
	if (strcmp(type, "i") == 0 && sd_bus_message_read(m, "i", &i) > 0)
		(void)fprintf(g->calls, " %d", i);
	if (type[0] == 'a') {
		char of = type[1];

		(void)sd_bus_message_enter_container(m, 'a', of == 'u' ? "u" : "s");
		while (of == 'u' ? sd_bus_message_read(m, "u", &u) > 0
				 : sd_bus_message_read(m, "s", &text) > 0)
			(void)(of == 'u' ? fprintf(g->calls, " %u", u)
					 : fprintf(g->calls, " %s", text));
		(void)sd_bus_message_exit_container(m);
	}
	(void)fputc('\n', g->calls);
	if (strcmp(name, "PIDs") == 0)
		g->pid = u;
	if (strcmp(name, "Slice") == 0)
		(void)snprintf(g->slice, sizeof(g->slice), "%s", text);
	(void)sd_bus_message_exit_container(m);
}

static void put_properties(struct manager *g, sd_bus_message *m)
{
	const char *name;

	(void)sd_bus_message_enter_container(m, 'a', "(sv)");
	while (sd_bus_message_enter_container(m, 'r', "sv") > 0) {
		if (sd_bus_message_read(m, "s", &name) > 0)
			put_value(g, m, name);
		(void)sd_bus_message_exit_container(m);
	}
	(void)sd_bus_message_exit_container(m);
}

// As systemd does it: a directory, and the process in it.
static void make_group(const struct manager *g)
{
	char path[1024], pid[16];
	int n;

	if (!g->mount)
		return;
	(void)snprintf(path, sizeof(path), "%s/%s/%s", g->mount, g->slice, g->unit);
	if (tree_make_dirs(path, 0755, NULL) < 0)
		return;
	n = snprintf(pid, sizeof(pid), "%u", g->pid);
	(void)strcat(path, "/cgroup.procs");
	{
		int fd AUTO_CLOSE = open(path, O_WRONLY | O_CLOEXEC);

		(void)!write(fd, pid, (size_t)n);
	}
}

static void tell_end(sd_bus *bus, const char *unit, const char *result)
{
	sd_bus_message *m = NULL;

	if (sd_bus_message_new_signal(bus, &m, "/org/freedesktop/systemd1",
				      "org.freedesktop.systemd1.Manager", "JobRemoved") >= 0 &&
	    sd_bus_message_set_sender(m, ":1.0") >= 0 &&
	    sd_bus_message_append(m, "uoss", 7, "/org/freedesktop/systemd1/job/7", unit, result) >=
		    0)
		(void)sd_bus_send(bus, m, NULL);
	sd_bus_message_unref(m);
}

static int start_unit(struct manager *g, sd_bus *bus, sd_bus_message *m)
{
	const char *unit, *mode;
	bool early;

	if (sd_bus_message_read(m, "ss", &unit, &mode) < 0)
		return -EINVAL;
	(void)fprintf(g->calls, "StartTransientUnit %s %s\n", unit, mode);
	(void)snprintf(g->unit, sizeof(g->unit), "%s", unit);
	put_properties(g, m);
	if (strstr(unit, "refused"))
		return sd_bus_reply_method_errorf(m, "org.freedesktop.systemd1.UnitExists",
						  "Unit %s was already loaded.", unit);
	make_group(g);
	early = strstr(unit, "early");
	tell_end(bus, "other.scope", "failed"); // somebody else's job
	if (early)
		tell_end(bus, unit, "done");
	(void)sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/job/7");
	if (!early)
		tell_end(bus, unit, strstr(unit, "failing") ? "failed" : "done");
	return 1;
}

static int on_message(sd_bus_message *m, void *arg, sd_bus_error *why)
{
	struct manager *g = arg;
	sd_bus *bus = sd_bus_message_get_bus(m);
	const char *member = sd_bus_message_get_member(m), *unit;
	int runtime, r;

	(void)why;
	if (sd_bus_message_is_method_call(m, NULL, "Hello"))
		return sd_bus_reply_method_return(m, "s", ":1.1");
	if (!sd_bus_message_is_method_call(m, NULL, NULL))
		return 0;
	if (strcmp(member, "StartTransientUnit") == 0) {
		r = start_unit(g, bus, m);
	} else if (strcmp(member, "SetUnitProperties") == 0) {
		(void)sd_bus_message_read(m, "sb", &unit, &runtime);
		(void)fprintf(g->calls, "SetUnitProperties %s %d\n", unit, runtime);
		put_properties(g, m);
		r = sd_bus_reply_method_return(m, "");
	} else if (strcmp(member, "StopUnit") == 0 || strcmp(member, "ResetFailedUnit") == 0) {
		(void)sd_bus_message_read(m, "s", &unit);
		(void)fprintf(g->calls, "%s %s\n", member, unit);
		if (strstr(unit, "gone"))
			r = sd_bus_reply_method_errorf(m, "org.freedesktop.systemd1.NoSuchUnit",
						       "Unit %s not loaded.", unit);
		else
			r = sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/job/8");
	} else { // AddMatch, RemoveMatch, Subscribe
		r = sd_bus_reply_method_return(m, "");
	}
	return r < 0 ? r : 1;
}

static void serve(struct manager *g, int fd)
{
	sd_id128_t id =
		SD_ID128_MAKE(6a, 41, 0c, 53, 3b, 2b, 4a, a8, 9a, 60, a3, 2b, 33, c0, 61, 1f);
	sd_bus *bus = NULL;

	if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
	    sd_bus_set_server(bus, 1, id) < 0 || sd_bus_start(bus) < 0 ||
	    sd_bus_add_filter(bus, NULL, on_message, g) < 0)
		abort();
	for (;;) {
		int r = sd_bus_process(bus, NULL);

		if (r == 0)
			r = sd_bus_wait(bus, UINT64_MAX);
		if (r < 0)
			break; // the client has gone
	}
	sd_bus_unref(bus);
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0)
		abort();
	return fd;
}

// One client at a time, until stop_fd can be read.
static void manage(int listener, const char *calls, const char *mount, int stop_fd)
{
	struct pollfd p[2] = { { .fd = listener, .events = POLLIN },
			       { .fd = stop_fd, .events = POLLIN } };
	struct manager g = { .calls = fopen(calls, "ae"), .mount = mount };

	if (!g.calls || setvbuf(g.calls, NULL, _IOLBF, BUFSIZ) != 0) // on disk before the answer
		abort();
	while (poll(p, 2, -1) >= 0 && !p[1].revents)
		serve(&g, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	(void)fclose(g.calls);
}

// ---- the tests
static char root[64], calls[128];
static pid_t server;

static int start_manager(void **state)
{
	char bus[128], address[160];
	int listener;

	(void)state;
	(void)snprintf(root, sizeof(root), "/tmp/test_systemd.XXXXXX"); // fits
	if (!mkdtemp(root))
		return -1;
	(void)snprintf(bus, sizeof(bus), "%s/bus", root);                   // fits
	(void)snprintf(calls, sizeof(calls), "%s/calls", root);             // fits
	(void)snprintf(address, sizeof(address), "unix:path=%s/bus", root); // fits
	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
	listener = listen_at(bus);
	server = fork();
	if (server == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); // with a test that fails
		manage(listener, calls, NULL, -1);
		_exit(0);
	}
	close_fd(listener);
	return server < 0 ? -1 : 0;
}

static int stop_manager(void **state)
{
	(void)state;
	(void)kill(server, SIGKILL);
	(void)waitpid(server, NULL, 0);
	return tree_remove(root, NULL);
}

static void called(const char *want)
{
	char *text AUTO_FREE = NULL;

	assert_int_equal(io_read_file(AT_FDCWD, calls, 65536, &text, NULL, NULL), 0);
	assert_string_equal(text, want);
}

static void names(void **state)
{
	static const struct {
		const char *path, *id, *slice, *unit, *cgroup;
	} good[] = {
		{ NULL, "a.b", "system.slice", "bulkhead-a.b.scope",
		  "/system.slice/bulkhead-a.b.scope" },
		{ ":cri:x", "i", "system.slice", "cri-x.scope", "/system.slice/cri-x.scope" },
		{ "machine.slice:libpod:7f", "i", "machine.slice", "libpod-7f.scope",
		  "/machine.slice/libpod-7f.scope" },
		{ "a-b-c.slice::x", "i", "a-b-c.slice", "x.scope",
		  "/a.slice/a-b.slice/a-b-c.slice/x.scope" },
		{ "-.slice:p:x", "i", "-.slice", "p-x.scope", "/p-x.scope" },
	};
	static const char *const bad[] = { "/a/b",         "a.slice:b",      "a.slice:b:c:d",
					   "a:b:c",        ".slice:b:c",     "-a.slice:b:c",
					   "a-.slice:b:c", "a--b.slice:b:c", "a/b.slice:b:c",
					   "a.slice:b:",   "a.slice:b:c/d",  "a.slice:b/:c" };
	char slice[SYSTEMD_NAME_BYTES], unit[SYSTEMD_NAME_BYTES], path[SYSTEMD_PATH_BYTES];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(
			systemd_scope_names(good[i].path, good[i].id, slice, unit, path, &e), 0);
		assert_string_equal(slice, good[i].slice);
		assert_string_equal(unit, good[i].unit);
		assert_string_equal(path, good[i].cgroup);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(systemd_scope_names(bad[i], "i", slice, unit, path, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "linux.cgroupsPath: "));
	}
}

static void starts(void **state)
{
	struct systemd_scope s = { .unit = "p-one.scope",
				   .slice = "a-b.slice",
				   .id = "one",
				   .pid = 77,
				   .cpu_weight = 100,
				   .memory_max = 1 << 30,
				   .tasks_max = 4096 };

	(void)state;
	assert_int_equal(systemd_scope_start(&s, NULL), 0);
	called("StartTransientUnit p-one.scope replace\n"
	       "Description s Bulkhead pod one\nSlice s a-b.slice\nPIDs au 77\nDelegate b 1\n"
	       "CPUWeight t 100\nMemoryMax t 1073741824\nTasksMax t 4096\n"
	       "DefaultDependencies b 0\nCollectMode s inactive-or-failed\n");
	// Its end may be told before the call's own answer.
	s.unit = "early.scope";
	assert_int_equal(systemd_scope_start(&s, NULL), 0);
}

static void sets_and_stops(void **state)
{
	(void)state;
	assert_int_equal(systemd_scope_set_weight("p-one.scope", 55, NULL), 0);
	assert_int_equal(systemd_scope_stop("p-one.scope", NULL), 0);
	assert_int_equal(systemd_scope_stop("gone.scope", NULL), 0); // with its last process
	called("SetUnitProperties p-one.scope 1\nCPUWeight t 55\nStopUnit p-one.scope\n"
	       "ResetFailedUnit p-one.scope\nStopUnit gone.scope\nResetFailedUnit gone.scope\n");
}

static void failures(void **state)
{
	struct systemd_scope s = { .unit = "refused.scope", .slice = "a.slice", .id = "x" };
	struct err e;

	(void)state;
	assert_true(systemd_scope_start(&s, &e) < 0);
	assert_string_equal(
		e.msg,
		"systemd refused StartTransientUnit: Unit refused.scope was already loaded.");
	s.unit = "failing.scope";
	assert_true(systemd_scope_start(&s, &e) < 0);
	assert_string_equal(e.msg, "systemd did not start failing.scope: failed");
	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
	assert_true(systemd_scope_start(&s, &e) < 0);
	assert_non_null(strstr(e.msg, "--systemd-cgroup: the system bus: "));
}

static void properties(void **state)
{
	struct oci_pair good[] = {
		{ "org.systemd.property.After", "['crio.service', \"b.service\"]" },
		{ "org.systemd.property.Before", "@as []" },
		{ "org.systemd.property.CollectMode", "'inactive'" },
		{ "org.systemd.property.DefaultDependencies", "true" },
		{ "org.systemd.property.KillSignal", "15" },
		{ "org.systemd.property.TimeoutStopSec", "uint64 2" },
		{ "org.systemd.property.TimeoutStopUSec", "1500" },
		{ "org.other", "x" },
	};
	static const struct oci_pair bad[] = {
		{ "org.systemd.property.ExecStart", "'x'" },
		{ "org.systemd.property.MemoryMax", "uint64 1" },
		{ "org.systemd.property.", "true" },
		{ "org.systemd.property.CollectMode", "inactive" },
		{ "org.systemd.property.CollectMode", "'a' 'b'" },
		{ "org.systemd.property.CollectMode", "'a\\'b'" },
		{ "org.systemd.property.CollectMode", "'a" },
		{ "org.systemd.property.DefaultDependencies", "1" },
		{ "org.systemd.property.KillSignal", "-9" },
		{ "org.systemd.property.TimeoutStopUSec", "uint64 x" },
		{ "org.systemd.property.TimeoutStopSec", "99999999999999999999" },
		{ "org.systemd.property.TimeoutStopSec", "18446744073709551" },
		{ "org.systemd.property.After", "['a'" },
		{ "org.systemd.property.After", "['a' 'b']" },
		{ "org.systemd.property.After", "['a'] x" },
		{ "org.systemd.property.After", "'a'" },
	};
	struct oci_map map = { good, sizeof(good) / sizeof(good[0]) };
	struct systemd_scope s = {
		.unit = "u.scope", .slice = "a.slice", .id = "x", .pid = 5, .annotations = &map
	};
	struct err e;

	(void)state;
	assert_int_equal(systemd_scope_start(&s, NULL), 0);
	called("StartTransientUnit u.scope replace\nDescription s Bulkhead pod x\nSlice s a.slice\n"
	       "PIDs au 5\nDelegate b 1\nAfter as crio.service b.service\nBefore as\n"
	       "CollectMode s inactive\nDefaultDependencies b 1\nKillSignal i 15\n"
	       "TimeoutStopUSec t 2000000\nTimeoutStopUSec t 1500\n");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct oci_pair one = bad[i];

		map = (struct oci_map){ &one, 1 };
		assert_true(systemd_scope_start(&s, &e) < 0);
		assert_non_null(strstr(e.msg, bad[i].key));
	}
}

int main(int argc, char **argv)
{
#define ROW(fn) cmocka_unit_test_setup_teardown(fn, start_manager, stop_manager)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names), ROW(starts),     ROW(sets_and_stops),
		ROW(failures),           ROW(properties),
	};

	if (argc >= 3) {
		manage(listen_at(argv[1]), argv[2], argc > 3 ? argv[3] : NULL, STDIN_FILENO);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
