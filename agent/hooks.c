// SPDX-License-Identifier: Apache-2.0
// hooks.startContainer: programs of the container's file system, run in its namespaces by its first process, with that
// one's rights, before it becomes the user's program.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"

static int state_fd(const struct child_orders *o, struct err *e)
{
	struct oci_state s = { .id = o->id,
			       .status = "created",
			       .bundle = o->bundle,
			       .pid = getpid(),
			       .annotations = &o->config->annotations };
	char *text AUTO_FREE = NULL;
	int fd AUTO_CLOSE = memfd_create("state", MFD_CLOEXEC);
	size_t len;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "hooks.startContainer: state");
	r = oci_state_print_compact(&s, &text, &len, e);
	if (r < 0)
		return r;
	if (io_write_full(fd, text, len) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, errno, "hooks.startContainer: state");
	return take_fd(&fd);
}

static _Noreturn void run(const struct oci_hook *h, int in, int out)
{
	char *no_args[] = { NULL, NULL };
	char *const none[] = { NULL };

	memcpy(&no_args[0], &h->path, sizeof(char *)); // execve changes nothing of it
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(127);
	(void)execve(h->path, h->args.n ? h->args.v : no_args,
		     h->env.v ? h->env.v : none); // returns only on failure
	(void)dprintf(2, "%s", strerror(errno));  // read below
	_exit(127);
}

// Until it has ended, or its time is up: then it is killed, and -ETIMEDOUT.
static int await(pid_t pid, const struct oci_hook *h, int *ret_status)
{
	int fd AUTO_CLOSE = (int)syscall(SYS_pidfd_open, pid, 0), n = 1;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (h->timeout.set && fd >= 0)
		n = poll(&p, 1, h->timeout.v > INT32_MAX / 1000 ? -1 : (int)h->timeout.v * 1000);
	if (n == 0)
		(void)kill(pid, SIGKILL); // it is ours and not waited for
	if (waitpid(pid, ret_status, 0) < 0)
		return -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

static int failed(size_t i, const struct oci_hook *h, int r, int status, int out, struct err *e)
{
	char text[300] = { 0 };

	if (pread(out, text, sizeof(text) - 1, 0) < 0)
		text[0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (r < 0)
		return err_errno(e, -r, "error running startContainer hook #%zu: %s", i, h->path);
	return err_set(e, EIO, "error running startContainer hook #%zu: %s: %s %d%s%s", i, h->path,
		       WIFSIGNALED(status) ? "signal" : "exit status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
		       *text ? ": " : "", text);
}

static int hook(const struct child_orders *o, size_t i, const struct oci_hook *h, struct err *e)
{
	int in AUTO_CLOSE = state_fd(o, e), out AUTO_CLOSE = memfd_create("output", MFD_CLOEXEC);
	int status = 0, r;
	pid_t pid;

	if (in < 0)
		return in;
	if (out < 0)
		return err_errno(e, errno, "hooks.startContainer");
	pid = fork();
	if (pid < 0)
		return err_errno(e, errno, "hooks.startContainer: fork");
	if (pid == 0)
		run(h, in, out);
	r = await(pid, h, &status);
	return r < 0 || status ? failed(i, h, r, status, out, e) : 0;
}

int child_hooks(const struct child_orders *o, struct err *e)
{
	const struct oci_hooks *h = &o->config->hooks[OCI_HOOK_START_CONTAINER];
	int r = 0;

	for (size_t i = 0; r == 0 && i < h->n; i++)
		r = hook(o, i, &h->v[i], e);
	return r;
}
