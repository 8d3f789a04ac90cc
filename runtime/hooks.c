// SPDX-License-Identifier: Apache-2.0
#include "runtime/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "runtime/client.h"
#include "runtime/hook_output.h"
#include "runtime/store.h"

OWN_DEFINE(struct oci_config *, oci_config_free)

static const char *const kind_name[OCI_HOOK_KINDS] = { "prestart",        "createRuntime",
						       "createContainer", "startContainer",
						       "poststart",       "poststop" };

static const struct {
	const char *path;
	int flag;
} home_ns[HOOKS_HOME_NS] = {
	{ "/proc/self/ns/net", CLONE_NEWNET },
	{ "/proc/self/ns/uts", CLONE_NEWUTS },
	{ "/proc/self/ns/ipc", CLONE_NEWIPC },
};

int hooks_home_save(struct hooks_home *ret, struct err *e)
{
	struct hooks_home h = { { -1, -1, -1 } };

	for (unsigned i = 0; i < HOOKS_HOME_NS; i++) {
		h.ns[i] = open(home_ns[i].path, O_RDONLY | O_CLOEXEC);
		if (h.ns[i] < 0) {
			int r = err_errno(e, errno, "%s", home_ns[i].path);

			hooks_home_done(&h);
			return r;
		}
	}
	*ret = h;
	return 0;
}

int hooks_home_return(const struct hooks_home *h, struct err *e)
{
	for (unsigned i = 0; i < HOOKS_HOME_NS; i++)
		if (setns(h->ns[i], home_ns[i].flag) < 0)
			return err_errno(e, errno, "returning to %s", home_ns[i].path);
	return 0;
}

void hooks_home_done(struct hooks_home *h)
{
	for (unsigned i = 0; i < HOOKS_HOME_NS; i++)
		close_fd(take_fd(&h->ns[i]));
}

// ---- one hook
struct run {
	const struct hooks_container *c;
	const struct oci_hook *hook;
	enum oci_hook_kind kind;
	int in;        // what it reads: a file in memory, so that nothing has to be fed
	int signal_fd; // -1: signals are not its business
	int signo;     // that came in its time, or 0
	struct hook_output out, err;
};

static void run_done(struct run *r)
{
	hook_output_done(&r->out);
	hook_output_done(&r->err);
}

static int state_fd(const struct hooks_container *c, enum oci_hook_kind kind, struct err *e)
{
	static const char *const status[OCI_HOOK_KINDS] = { "creating", "creating", "creating",
							    "created",  "running",  "stopped" };
	struct oci_state s = { .id = c->id,
			       .status = status[kind],
			       .bundle = c->bundle,
			       .pid = c->pid,
			       .annotations = &c->config->annotations };
	char *text AUTO_FREE = NULL;
	int fd AUTO_CLOSE = memfd_create("state", MFD_CLOEXEC);
	size_t len;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "state");
	r = oci_state_print_compact(&s, &text, &len, e);
	if (r < 0)
		return r;
	if (io_write_full(fd, text, len) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, errno, "state");
	return take_fd(&fd);
}

// Where a hook of that kind belongs.
static int enter(const struct run *r, struct err *e)
{
	int pidfd AUTO_CLOSE = -1;

	if (r->kind != OCI_HOOK_CREATE_CONTAINER)
		return r->c->home ? hooks_home_return(r->c->home, e) : 0;
	pidfd = (int)syscall(SYS_pidfd_open, r->c->pid, 0);
	if (pidfd < 0 || setns(pidfd, CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC) < 0)
		return err_errno(e, errno, "the container's namespaces");
	return 0;
}

static _Noreturn void child(const struct run *r)
{
	char *no_args[] = { NULL, NULL };
	char *const none[] = { NULL };
	const struct oci_hook *h = r->hook;
	int fd[3] = { r->in, r->out.child_fd, r->err.child_fd };
	struct err e;
	sigset_t set;

	(void)setpgid(0, 0); // killed as a whole when its time is up
	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigemptyset(&set);                       // cannot fail
	(void)sigprocmask(SIG_SETMASK, &set, NULL);    // nor this
	memcpy(&no_args[0], &h->path, sizeof(char *)); // execve changes nothing of it
	// Out of the way of the three numbers first: the caller may have had one of them closed.
	for (unsigned i = 0; i < 3; i++)
		fd[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, 3);
	for (int i = 0; i < 3; i++)
		if (fd[i] < 0 || dup2(fd[i], i) < 0)
			_exit(127);
	if (enter(r, &e) < 0) {
		(void)dprintf(2, "%s", e.msg); // for the parent
		_exit(127);
	}
	(void)chdir(r->c->bundle); // as the runtime does that is run there; it may be gone
	if (syscall(SYS_close_range, 3, ~0u, 0) < 0)
		_exit(127);
	(void)execve(h->path, h->args.n ? h->args.v : no_args, h->env.v ? h->env.v : none);
	(void)dprintf(2, "%s", strerror(errno)); // as above
	_exit(127);
}

// What is left of its time, for poll: -1 without an end.
static int left_ms(const struct oci_hook *h, int64_t begin_ns)
{
	int64_t left;

	if (!h->timeout.set || h->timeout.v > INT32_MAX / 1000)
		return -1;
	left = (int64_t)h->timeout.v * 1000 - (io_now_ns() - begin_ns) / 1000000;
	return left > 0 ? (int)left : 0;
}

// Reads what it prints until it has ended: true; or its time is up, or ours: false.
static bool attend(struct run *r, int pidfd)
{
	struct pollfd p[] = { { .fd = pidfd, .events = POLLIN },
			      { .fd = r->out.fd, .events = POLLIN },
			      { .fd = r->err.fd, .events = POLLIN },
			      { .fd = r->signal_fd, .events = POLLIN } };
	struct signalfd_siginfo si;
	int64_t begin_ns = io_now_ns();
	int n, left;

	do {
		left = left_ms(r->hook, begin_ns);
		n = poll(p, 4, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) // without a way to wait for it it must not run for ever
			return false;
		if (p[1].revents && !hook_output_read(&r->out))
			p[1].fd = -1;
		if (p[2].revents && !hook_output_read(&r->err))
			p[2].fd = -1;
		if (p[3].revents && read(r->signal_fd, &si, sizeof(si)) == sizeof(si)) {
			r->signo = (int)si.ssi_signo;
			return false;
		}
		if (p[0].revents)
			return true;
	} while (left != 0); // it may print for ever
	return false;
}

// Until it has ended, or its time is up, or a signal came: then it is killed, with its group, and -ETIMEDOUT or -EINTR.
static int await(struct run *r, pid_t pid, int *ret_status)
{
	int fd AUTO_CLOSE = (int)syscall(SYS_pidfd_open, pid, 0), failed = fd < 0 ? -errno : 0;
	bool ended = fd >= 0 && attend(r, fd);

	if (!ended)
		(void)kill(-pid, SIGKILL); // a child of ours that is not waited for yet
	if (!ended)
		(void)kill(pid, SIGKILL); // before it has made its group
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return failed ? failed : ended ? 0 : r->signo ? -EINTR : -ETIMEDOUT;
}

static int judge(struct run *r, size_t i, int waited, int status, struct err *e)
{
	if (waited == 0 && status == 0)
		return 0;
	if (waited == -EINTR)
		return err_set(e, EINTR, "error running %s hook #%zu: %s: interrupted by signal %d",
			       kind_name[r->kind], i, r->hook->path, r->signo);
	if (waited == -ETIMEDOUT)
		return err_set(
			e, ETIMEDOUT,
			"error running %s hook #%zu: %s: hook ran past its timeout of %lld s",
			kind_name[r->kind], i, r->hook->path, (long long)r->hook->timeout.v);
	if (waited < 0)
		return err_errno(e, -waited, "error running %s hook #%zu: %s", kind_name[r->kind],
				 i, r->hook->path);
	return err_set(e, EIO, "error running %s hook #%zu: %s: %s %d, stdout: %s, stderr: %s",
		       kind_name[r->kind], i, r->hook->path,
		       WIFSIGNALED(status) ? "signal" : "exit status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
		       hook_output_text(&r->out), hook_output_text(&r->err));
}

static int run_one(const struct hooks_container *c, enum oci_hook_kind kind, size_t i,
		   int signal_fd, struct err *e)
{
	int in AUTO_CLOSE = state_fd(c, kind, e), status = 0, r;
	struct run run __attribute__((cleanup(run_done))) = {
		.c = c,
		.hook = &c->config->hooks[kind].v[i],
		.kind = kind,
		.in = in,
		.signal_fd = signal_fd,
		.out = { .fd = -1, .child_fd = -1 },
		.err = { .fd = -1, .child_fd = -1 },
	};
	pid_t pid;

	if (in < 0)
		return err_wrap(e, "hooks.%s[%zu]", kind_name[kind], i);
	if ((r = hook_output_init(&run.out)) < 0 || (r = hook_output_init(&run.err)) < 0)
		return err_errno(e, -r, "hooks.%s[%zu]", kind_name[kind], i);
	pid = fork();
	if (pid < 0)
		return err_errno(e, errno, "hooks.%s[%zu]", kind_name[kind], i);
	if (pid == 0)
		child(&run);
	hook_output_forked(&run.out);
	hook_output_forked(&run.err);
	r = await(&run, pid, &status);
	return judge(&run, i, r, status, e);
}

// A signal that asks for our end must not leave what a create has made so far, nor the hook: it is an error of the hook.
int hooks_run(const struct hooks_container *c, enum oci_hook_kind kind, struct err *e)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	int fd AUTO_CLOSE = -1, r = 0;
	sigset_t set, before;

	if (!c->config->hooks[kind].n)
		return 0;
	(void)sigemptyset(&set); // cannot fail
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		(void)sigaddset(&set, ends[i]);      // nor this
	(void)sigprocmask(SIG_BLOCK, &set, &before); // nor this
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		r = err_errno(e, errno, "hooks.%s", kind_name[kind]);
	for (size_t i = 0; r == 0 && i < c->config->hooks[kind].n; i++)
		r = run_one(c, kind, i, fd, e);
	(void)sigprocmask(SIG_SETMASK, &before, NULL); // nor this
	return r;
}

void hooks_run_poststop(const struct hooks_container *c)
{
	struct err e;

	for (size_t i = 0; i < c->config->hooks[OCI_HOOK_POSTSTOP].n; i++)
		if (run_one(c, OCI_HOOK_POSTSTOP, i, -1, &e) < 0)
			log_warn("%s", e.msg);
}

// ---- between the commands
int hooks_store(const char *root, const char *id, const struct oci_config *config, struct err *e)
{
	char path[STORE_PATH_BYTES], *json AUTO_FREE = NULL;
	struct oci_rewrite same = { 0 };
	size_t len;
	int r;

	if (!config->hooks[OCI_HOOK_POSTSTART].n && !config->hooks[OCI_HOOK_POSTSTOP].n)
		return 0;
	if ((r = store_container_path(root, id, "config.json", path, e)) < 0 ||
	    (r = oci_config_rewrite(config, &same, &json, &len, e)) < 0)
		return r;
	return io_write_file(AT_FDCWD, path, json, len, 0600, e);
}

int hooks_load(const char *root, const char *id, struct oci_config **ret_config, struct err *e)
{
	char path[STORE_PATH_BYTES], *json AUTO_FREE = NULL;
	size_t len;
	int r = store_container_path(root, id, "config.json", path, e);

	if (r < 0)
		return r;
	r = io_read_file(AT_FDCWD, path, OCI_CONFIG_BYTES_MAX, &json, &len, e);
	if (r == -ENOENT) {
		*ret_config = NULL;
		return 0;
	}
	return r < 0 ? r : oci_config_parse(json, len, ret_config, e);
}

static int poststart(const char *root, const char *id, const struct hooks_home *home, struct err *e)
{
	struct oci_config *config AUTO(oci_config_free) = NULL;
	struct store_container sc = { 0 };
	struct hooks_container c = { .id = id, .home = home };
	int r = hooks_load(root, id, &config, e);

	if (r < 0 || !config)
		return r;
	r = store_container_read(root, id, &sc, e);
	if (r < 0)
		return r;
	c.config = config;
	c.bundle = sc.bundle;
	c.pid = sc.proxy.pid;
	r = hooks_run(&c, OCI_HOOK_POSTSTART, e);
	store_container_done(&sc);
	return r;
}

int hooks_start(struct client *cl, const char *root, const char *id, const struct hooks_home *home,
		struct err *e)
{
	uint32_t ignored;
	int r = client_start(cl, id, e);

	if (r < 0)
		return r;
	r = poststart(root, id, home, e);
	if (r < 0) {
		(void)client_kill(cl, id, SIGKILL, true, NULL); // the supervisor enforces it
		(void)client_wait(cl, id, &ignored, NULL); // the hook's error is the one to report
	}
	return r;
}
