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
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static int write_file(const char *path, const char *text, const char *field, struct err *e)
{
	int fd AUTO_CLOSE = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_errno(e, errno, "%s: %s", field, path);
	return 0;
}

static int sysctls(const struct oci_config *c, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->lin.sysctl.n; i++) {
		char path[512];

		if (strcmp(c->lin.sysctl.v[i].key, "kernel.hostname") == 0)
			return err_set(e, EINVAL, "linux.sysctl: kernel.hostname: use hostname");
		if ((size_t)snprintf(path, sizeof(path), "/proc/sys/%s", c->lin.sysctl.v[i].key) >=
			    sizeof(path) ||
		    strchr(c->lin.sysctl.v[i].key, '/'))
			return err_set(e, EINVAL, "linux.sysctl: %s: not a name",
				       c->lin.sysctl.v[i].key);
		for (char *p = path + 10; *p; p++)
			if (*p == '.')
				*p = '/';
		r = write_file(path, c->lin.sysctl.v[i].value, "linux.sysctl", e);
	}
	return r;
}

// With `make`, cwd is made if it is missing. It is tried again as the user: root may be shut out where the user is not.
static int working_directory(const char *cwd, bool make, struct err *e)
{
	char part[4096];

	if (chdir(cwd) == 0 || errno == EACCES)
		return 0;
	if (errno != ENOENT || !make)
		return err_errno(e, errno, "process.cwd: %s", cwd);
	for (size_t i = 1; i < sizeof(part); i++) {
		if (cwd[i] != '/' && cwd[i])
			continue;
		memcpy(part, cwd, i);
		part[i] = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return err_errno(e, errno, "process.cwd: %s", cwd);
		if (!cwd[i])
			break;
	}
	return chdir(cwd) < 0 ? err_errno(e, errno, "process.cwd: %s", cwd) : 0;
}

// The new root: its mounts, devices, then pivot_root. rootfs stays reachable only as "/". *ret_master is the terminal's
// other end, if the process has one: /dev/console can only be made while the root is still writable.
static int enter_root(const struct oci_config *c, int *ret_master, struct err *e)
{
	int root AUTO_CLOSE = -1;
	int r;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(e, errno, "making mounts private");
	if (mount(c->root.path, c->root.path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_errno(e, errno, "root.path: %s", c->root.path);
	root = open(c->root.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(e, errno, "root.path: %s", c->root.path);
	r = mounts_make(root, c, e);
	r = r < 0 ? r : devices_make(root, c, e);
	r = r < 0 ? r : sysctls(c, e);
	if (r < 0)
		return r;
	if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return err_errno(e, errno, "pivot_root");
	// The old root lies over the new one: it is what "." now names.
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_errno(e, errno, "leaving the old root");
	if (c->process.terminal) {
		*ret_master = child_terminal(&c->process, true, e);
		if (*ret_master < 0)
			return *ret_master;
	}
	// While the root can still be written.
	r = working_directory(c->process.cwd, true, e);
	return r < 0 ? r : mounts_finish(c, e);
}

static int identity(const struct oci_config *c, struct err *e)
{
	if (c->hostname && sethostname(c->hostname, strlen(c->hostname)) < 0)
		return err_errno(e, errno, "hostname");
	if (c->domainname && setdomainname(c->domainname, strlen(c->domainname)) < 0)
		return err_errno(e, errno, "domainname");
	return 0;
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

	if (getenv("HOME"))
		return;
	if (io_read_file(AT_FDCWD, "/etc/passwd", 1 << 20, &text, NULL, NULL) == 0)
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

int child_stdio(const struct oci_process *p, const int fds[3], struct err *e)
{
	for (int i = 0; i < 3; i++) {
		if (fchown(fds[i], p->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EROFS &&
		    errno != EINVAL)
			return err_errno(e, errno, "standard stream %d", i);
		if (dup2(fds[i], i) < 0)
			return err_errno(e, errno, "standard stream %d", i);
	}
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

void child_signals(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &sa, NULL); // SIGKILL, SIGSTOP and the C library's own refuse
	(void)sigemptyset(&none);              // cannot fail
	(void)sigprocmask(SIG_SETMASK, &none, NULL); // nor this
}

int child_become(const struct oci_process *p, const struct oci_linux *l, char path[4096],
		 struct err *e)
{
	int r = limits(p, e);

	r = r < 0 ? r : running_personality(l, e);
	r = r < 0 ? r : running_memory_policy(&l->memory_policy, e);
	if (r < 0)
		return r;
	(void)umask(p->umask.set ? (mode_t)p->umask.v : 0022); // cannot fail
	environ = p->env.v;
	default_home(p->uid);
	r = working_directory(p->cwd, false, e);
	// Without no_new_privs a filter needs CAP_SYS_ADMIN, which goes next; with it, the filter comes last.
	if (r == 0 && !p->no_new_privileges)
		r = child_seccomp(l->seccomp, e);
	r = r < 0 ? r : child_capabilities(p, e);
	if (r < 0)
		return r;
	if (chdir(p->cwd) < 0)
		return err_errno(e, errno, "process.cwd: %s", p->cwd);
	r = find_program(p->args.v[0], path, e);
	if (r == 0 && p->no_new_privileges)
		r = child_seccomp(l->seccomp, e);
	return r;
}

static int set_up(const struct oci_config *c, int ctl, const int fds[3], char path[4096],
		  int *ret_master, struct err *e)
{
	const struct oci_process *p = &c->process;
	int r = child_stdio(p, fds, e);

	r = r < 0 ? r : child_close_others(ctl, e);
	if (r < 0)
		return r;
	if (setsid() < 0)
		return err_errno(e, errno, "setsid");
	if (c->lin.ns[OCI_NS_CGROUP].present && unshare(CLONE_NEWCGROUP) < 0)
		return err_errno(e, errno, "linux.namespaces: cgroup");
	r = identity(c, e);
	r = r < 0 ? r : enter_root(c, ret_master, e);
	r = r < 0 ? r : child_become(p, &c->lin, path, e);
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

void child_exec(const struct oci_process *p, const char *path, struct err *e)
{
	(void)execve(path, p->args.v, environ);                  // returns only on failure
	(void)err_errno(e, errno, "exec: \"%s\"", p->args.v[0]); // told by the caller
}

_Noreturn void child_main(const struct oci_config *c, int ctl, const int fds[3])
{
	struct err e = { 0 };
	char path[4096], go;
	int master = -1;

	child_signals();
	// The first byte: the agent has put this process into its cgroup.
	if (io_read_full(ctl, &go, 1) < 0)
		_exit(1);
	if (set_up(c, ctl, fds, path, &master, &e) < 0 || child_ready(ctl, master, &e) < 0)
		child_fail(ctl, &e);
	// The second: start. The end of the stream: the container is deleted before it ran.
	if (io_read_full(ctl, &go, 1) < 0)
		_exit(1);
	child_exec(&c->process, path, &e);
	child_fail(ctl, &e);
}
