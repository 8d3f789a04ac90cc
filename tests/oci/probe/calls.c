// SPDX-License-Identifier: Apache-2.0
// System calls tried in a child, so that the probe outlives a filter or a limit that kills.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

enum { TRAPPED = 254, LIVES = 253 };

static const struct {
	const char *name;
	long nr;
} names[] = {
	{ "getppid", SYS_getppid },
	{ "getpgid", SYS_getpgid },
	{ "getsid", SYS_getsid },
	{ "getuid", SYS_getuid },
	{ "sched_yield", SYS_sched_yield },
	{ "sync", SYS_sync },
	{ "mkdirat", SYS_mkdirat },
	{ "personality", SYS_personality },
	{ "dup", SYS_dup },
	{ "lseek", SYS_lseek },
	{ "socket", SYS_socket },
	{ "unshare", SYS_unshare },
	{ "mount", SYS_mount },
	{ "ptrace", SYS_ptrace },
	{ "keyctl", SYS_keyctl },
	{ "umask", SYS_umask },
	{ "uname", SYS_uname },
	{ "setuid", SYS_setuid },
	{ "setpriority", SYS_setpriority },
	{ "clone3", SYS_clone3 },
};

struct call {
	long nr, args[6];
};

static struct call parse(const char *what)
{
	char *copy = strdup(what), *rest = copy;
	const char *name = next_field(&rest);
	struct call c = { strtol(name, NULL, 0), { 0 } };

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i].name, name) == 0)
			c.nr = names[i].nr;
	for (unsigned i = 0; i < 6 && *rest; i++)
		c.args[i] = (long)strtoull(next_field(&rest), NULL, 0);
	free(copy);
	return c;
}

static long invoke(const struct call *c)
{
	return syscall(c->nr, c->args[0], c->args[1], c->args[2], c->args[3], c->args[4],
		       c->args[5]);
}

static void on_trap(int sig)
{
	(void)sig;
	_exit(TRAPPED);
}

static void *invoke_in_thread(void *call)
{
	(void)invoke(call);
	return NULL;
}

static void say_status(const char *query, int status)
{
	if (WIFSIGNALED(status))
		say(query, "killed SIG%s", sigabbrev_np(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == TRAPPED)
		say(query, "trapped SIGSYS");
	else if (WEXITSTATUS(status) == LIVES)
		say(query, "process lives");
	else
		say(query, "%s", WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "ok");
}

static void run(const char *query, const char *what, int in_thread)
{
	struct call c = parse(what);
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		pthread_t t;

		(void)signal(SIGSYS, on_trap);
		if (!in_thread)
			_exit(invoke(&c) >= 0 ? 0 : errno);
		(void)signal(SIGSYS, SIG_DFL);
		if (pthread_create(&t, NULL, invoke_in_thread, &c) != 0)
			_exit(EAGAIN);
		(void)pthread_join(t, NULL);
		_exit(LIVES);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		say_result(query, -1);
	else
		say_status(query, status);
}

// call:NAME[:ARG...], or a number for NAME
static void call(const char *query, const char *what)
{
	run(query, what, 0);
}

// threadcall:NAME[:ARG...]: the call in a thread of its own: does it take the process with it?
static void thread_call(const char *query, const char *what)
{
	run(query, what, 1);
}

// forks:N: how many of N children there can be at once
static void forks(const char *query, const char *what)
{
	static pid_t child[4096];
	int want = atoi(what), n = 0, code = 0;

	while (n < want && n < 4096) {
		child[n] = fork();
		if (child[n] == 0) {
			(void)pause();
			_exit(0);
		}
		if (child[n] < 0) {
			code = errno;
			break;
		}
		n++;
	}
	for (int i = 0; i < n; i++) {
		(void)kill(child[i], SIGKILL);
		(void)waitpid(child[i], NULL, 0);
	}
	say(query, "%d %s", n, code ? strerrorname_np(code) : "ok");
}

// alloc:BYTES: a child that uses so much memory
static void alloc(const char *query, const char *what)
{
	size_t len = strtoull(what, NULL, 0);
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char *p =
			mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			_exit(errno);
		for (size_t i = 0; i < len; i += 4096)
			p[i] = 1;
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		say_result(query, -1);
	else
		say_status(query, status);
}

const struct probe_query call_queries[] = {
	{ "call", call },
	{ "threadcall", thread_call },
	{ "forks", forks },
	{ "alloc", alloc },
	{ 0 },
};
