// SPDX-License-Identifier: Apache-2.0
// The forked process from its namespaces to execve, in the order of a container's start (oci.md 5.1).
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/namespaces.h"
#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"

extern char **environ;

_Noreturn void child_fail(int ctl, const struct err *e)
{
	struct child_report r = { .code = e->code ? e->code : EIO };

	(void)snprintf(r.msg, sizeof(r.msg), "%s", e->msg); // cut is fine
	(void)io_write_full(ctl, &r, sizeof(r));            // the agent sees the end anyway
	_exit(1);
}

static int limits(const struct oci_process *p, struct err *e)
{
	for (size_t i = 0; i < p->n_rlimits; i++) {
		struct rlimit l = { p->rlimits[i].soft, p->rlimits[i].hard };

		if (setrlimit((__rlimit_resource_t)p->rlimits[i].resource, &l) < 0)
			return err_errno(e, errno, "process.rlimits: %s", p->rlimits[i].type);
	}
	return 0;
}

// HOME from /etc/passwd when the config sets none.
static void default_home(uint32_t uid)
{
	char *text AUTO_FREE = NULL, *save = NULL;
	struct stat st;

	if (getenv("HOME"))
		return;
	// A fifo, say, would never open.
	if (stat("/etc/passwd", &st) == 0 && S_ISREG(st.st_mode) &&
	    io_read_file(AT_FDCWD, "/etc/passwd", 1 << 20, &text, NULL, NULL) == 0)
		for (char *line = strtok_r(text, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save)) {
			char *field[7] = { NULL }, *at = line;

			for (unsigned i = 0; i < 7 && at; i++)
				field[i] = strsep(&at, ":");
			if (field[5] && field[2] && strtoul(field[2], NULL, 10) == uid) {
				(void)setenv("HOME", field[5], 1); // fails only without memory
				return;
			}
		}
	(void)setenv("HOME", "/", 1); // as above
}

static int check_program(const char *path, const char *arg, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_errno(e, errno, "exec: \"%s\": stat %s", arg, path);
	if (S_ISDIR(st.st_mode))
		return err_set(e, EACCES, "exec: \"%s\": is a directory", arg);
	if (access(path, X_OK) < 0)
		return err_set(e, EACCES, "exec: \"%s\": permission denied", arg);
	return 0;
}

// Finds args[0] by the container's PATH, so that a missing program is create's error, in runc's words.
static int find_program(const char *arg, char path[4096], struct err *e)
{
	const char *dirs = getenv("PATH");
	bool forbidden = false;

	if (strchr(arg, '/')) {
		(void)snprintf(path, 4096, "%s", arg); // what is cut does not exist
		return check_program(path, arg, e);
	}
	while (dirs && *dirs) {
		size_t len = strcspn(dirs, ":");
		struct err ignored;

		(void)snprintf(path, 4096, "%.*s/%s", (int)len, len ? dirs : ".", arg); // as above
		if (check_program(path, arg, &ignored) == 0)
			return 0;
		forbidden |= ignored.code == EACCES;
		dirs += len + (dirs[len] == ':');
	}
	if (forbidden)
		return err_set(e, EACCES, "exec: \"%s\": permission denied", arg);
	return err_set(e, ENOENT, "exec: \"%s\": executable file not found in $PATH", arg);
}

int child_stdio(const int fds[3], struct err *e)
{
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			return err_errno(e, errno, "standard stream %d", i);
	return 0;
}

// What the fork has copied of the agent's. Kept until execve, it would hold other containers' pipes and streams open: they
// would miss an end of their input for as long as this one waits for its start.
int child_close_others(int ctl, struct err *e)
{
	if ((ctl > 3 && syscall(SYS_close_range, 3u, (unsigned)ctl - 1, 0) < 0) ||
	    syscall(SYS_close_range, (unsigned)ctl + 1, ~0u, 0) < 0)
		return err_errno(e, errno, "close_range");
	return 0;
}

void child_begin(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &sa, NULL); // SIGKILL, SIGSTOP and the C library's own refuse
	(void)sigemptyset(&none);              // cannot fail
	(void)sigprocmask(SIG_SETMASK, &none, NULL); // nor this
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);    // nor this
}

int child_become(const struct oci_process *p, const struct oci_linux *l, struct child_program *ret,
		 struct err *e)
{
	int r = child_filter_make(l->seccomp, &ret->filter, e);

	r = r < 0 ? r : limits(p, e);

	r = r < 0 ? r : running_personality(l, e);
	r = r < 0 ? r : running_memory_policy(&l->memory_policy, e);
	if (r < 0)
		return r;
	(void)umask(p->umask.set ? (mode_t)p->umask.v : 0022); // cannot fail
	environ = p->env.v;
	default_home(p->uid);
	// Tried again as the user: root may be shut out where the user is not.
	if (chdir(p->cwd) < 0 && errno != EACCES)
		return err_errno(e, errno, "process.cwd: %s", p->cwd);
	// Without no_new_privs a filter needs CAP_SYS_ADMIN, which goes next; with it, the filter is the last step.
	if (r == 0 && !p->no_new_privileges) {
		r = child_filter_load(&ret->filter, e);
		ret->filter.n = 0;
	}
	r = r < 0 ? r : child_capabilities(p, e);
	if (r < 0)
		return r;
	if (chdir(p->cwd) < 0)
		return err_errno(e, errno, "process.cwd: %s", p->cwd);
	return find_program(p->args.v[0], ret->path, e);
}

// With the guest's view of the files: what needs its root's ids.
static int own_namespaces(const struct oci_config *c, struct err *e)
{
	int r = child_time(&c->lin, e);

	r = r < 0 ? r : child_names(c, e);
	r = r < 0 ? r : child_sysctls(&c->lin, false, e);
	if (r == 0 && c->lin.ns[OCI_NS_CGROUP].present && unshare(CLONE_NEWCGROUP) < 0)
		return err_errno(e, errno, "linux.namespaces: cgroup");
	return r;
}

static int set_up(const struct child_orders *o, int ctl, const int fds[3],
		  struct child_program *prog, int *ret_master, struct err *e)
{
	const struct oci_config *c = o->config;
	int r = child_stdio(fds, e);

	if (r == 0 && setsid() < 0)
		return err_errno(e, errno, "setsid");
	r = r < 0 ? r : own_namespaces(c, e);
	r = r < 0 ? r : child_root(c, o->aid, e);
	r = r < 0 ? r : child_close_others(ctl, e);
	r = r < 0 ? r : child_root_finish(c, ret_master, e);
	r = r < 0 ? r : child_keyring(o->id, e);
	r = r < 0 ? r : child_become(&c->process, &c->lin, prog, e);
	return r < 0 ? err_wrap(e, "unable to start container process: error during container init")
		     : 0;
}

int child_ready(int ctl, int master, struct err *e)
{
	struct child_report ready = { 0 };
	ssize_t n = io_send_fds(ctl, &ready, sizeof(ready), &master, master >= 0);

	close_fd(master);
	return n < 0 ? err_errno(e, (int)-n, "telling the agent") : 0;
}

void child_exec(const struct oci_process *p, const struct child_program *prog, struct err *e)
{
	if (child_filter_load(&prog->filter, e) < 0)
		return;
	(void)execve(prog->path, p->args.v, environ);            // returns only on failure
	(void)err_errno(e, errno, "exec: \"%s\"", p->args.v[0]); // told by the caller
}

_Noreturn void child_main(const struct child_orders *o, int ctl, const int fds[3])
{
	static struct child_program prog;
	struct err e = { 0 };
	int master = -1;
	char go;

	child_begin();
	// The first byte: the agent has put this process into its cgroup.
	if (io_read_full(ctl, &go, 1) < 0)
		_exit(1);
	if (set_up(o, ctl, fds, &prog, &master, &e) < 0 || child_ready(ctl, master, &e) < 0)
		child_fail(ctl, &e);
	// The second: start. The end of the stream: the container is deleted before it ran.
	if (io_read_full(ctl, &go, 1) < 0)
		_exit(1);
	if (child_hooks(o, &e) == 0)
		child_exec(&o->config->process, &prog, &e);
	child_fail(ctl, &e);
}
