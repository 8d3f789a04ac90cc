// SPDX-License-Identifier: Apache-2.0
// bulkhead exec: one more process in a container.
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "runtime/cli.h"
#include "runtime/exec.h"
#include "runtime/launch.h"

struct exec_options {
	const char *process, *cwd, *user, *pid_file, *console_socket, *pidfd_socket, *preserve_fds;
	const char *apparmor, *process_label, *exec_id;
	struct cli_list env, caps, gids, cgroups;
	bool tty, detach, no_new_privs, ignore_paused, terminal_on_stdio;
};
#define O(member) offsetof(struct exec_options, member)
static const struct cli_option options[] = {
	{ "process", 'p', CLI_STRING, O(process), "FILE", "the process object, instead of CMD" },
	{ "cwd", 0, CLI_STRING, O(cwd), "DIR", "its working directory" },
	{ "env", 'e', CLI_LIST, O(env), "NAME=VALUE", "set in its environment (repeatable)" },
	{ "tty", 't', CLI_FLAG, O(tty), NULL, "give it a terminal" },
	{ "user", 'u', CLI_STRING, O(user), "UID[:GID]", "run it as" },
	{ "additional-gids", 'g', CLI_LIST, O(gids), "GID", "one more group (repeatable)" },
	{ "cap", 'c', CLI_LIST, O(caps), "CAP", "one more capability (repeatable)" },
	{ "no-new-privs", 0, CLI_FLAG, O(no_new_privs), NULL, "set no_new_privs" },
	{ "detach", 'd', CLI_FLAG, O(detach), NULL, "return when it has started" },
	{ "pid-file", 0, CLI_STRING, O(pid_file), "FILE",
	  "write the pid of the process that stands for it" },
	{ "console-socket", 0, CLI_STRING, O(console_socket), "PATH",
	  "unix socket that is sent the terminal's other end" },
	{ "pidfd-socket", 0, CLI_STRING, O(pidfd_socket), "PATH",
	  "unix socket that is sent a pidfd of that process" },
	{ "exec-id", 0, CLI_STRING, O(exec_id), "NAME",
	  "what the supervisor knows it by (default: made up)" },
	{ "terminal-on-stdio", 0, CLI_FLAG, O(terminal_on_stdio), NULL,
	  "the standard streams carry the terminal, and are none" },
	{ "cgroup", 0, CLI_LIST, O(cgroups), "PATH", "a cgroup below the container's own" },
	{ "ignore-paused", 0, CLI_FLAG, O(ignore_paused), NULL,
	  "also in a paused container, where it waits" },
	{ "preserve-fds", 0, CLI_STRING, O(preserve_fds), "N",
	  "only 0: descriptors do not reach into a guest" },
	{ "apparmor", 0, CLI_STRING, O(apparmor), "PROFILE", "refused: the guest has no AppArmor" },
	{ "process-label", 0, CLI_STRING, O(process_label), "LABEL",
	  "refused: the guest has no SELinux" },
	CLI_END,
};

static struct oci_words words(const struct cli_list *l)
{
	return (struct oci_words){ .v = l->v, .n = l->n };
}

// What cannot be honoured, by name.
static int check(const struct exec_options *o, struct err *e)
{
	if (o->apparmor && *o->apparmor)
		return err_set(e, ENOTSUP, "--apparmor: the guest kernel has no AppArmor");
	if (o->process_label && *o->process_label)
		return err_set(e, ENOTSUP, "--process-label: the guest kernel has no SELinux");
	if (o->cgroups.n > 1)
		return err_set(e, EINVAL, "--cgroup: given more than once");
	if (o->cgroups.n && strchr(o->cgroups.v[0], ':'))
		return err_set(
			e, EINVAL,
			"--cgroup %s: the guest has cgroup v2, where controllers have no paths of their own",
			o->cgroups.v[0]);
	return launch_check_preserve_fds(o->preserve_fds, e);
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	const struct exec_options *o = opts;
	struct exec_request req = {
		.root = g->root,
		.id = argv[0],
		.process_file = o->process,
		.change = { .args = { .v = (const char *const *)(argv + 1), .n = (size_t)argc - 1 },
			    .env = words(&o->env),
			    .caps = words(&o->caps),
			    .cwd = o->cwd && *o->cwd ? o->cwd : NULL,
			    .no_new_privileges = o->no_new_privs,
			    .set_terminal = true,
			    .terminal = o->tty },
		.user = o->user,
		.gids = words(&o->gids),
		.cgroup = o->cgroups.n ? o->cgroups.v[0] : "",
		.pid_file = o->pid_file,
		.console_socket = o->console_socket,
		.pidfd_socket = o->pidfd_socket,
		.exec_id = o->exec_id,
		.terminal_on_stdio = o->terminal_on_stdio,
		.detach = o->detach,
		.ignore_paused = o->ignore_paused,
	};
	uint32_t code = 0;
	struct err e;

	if (check(o, &e) < 0 || exec_run(&req, &code, &e) < 0) {
		log_error("exec failed: %s", e.msg);
		return 255;
	}
	return (int)(code & 0xff);
}

const struct cli_command cmd_exec = {
	.name = "exec",
	.args = "ID [CMD [ARG...]]",
	.summary = "run one more process in a container",
	.help = "   The process is like the container's own but for what options and CMD change, or it is\n"
		"   described by a file. In the foreground: exits with its exit code (128 + n when signal n\n"
		"   ended it, 255 when it never ran). Signals to this command reach the process.\n\n"
		"      bulkhead exec -t ID sh\n"
		"      bulkhead exec --process FILE --detach --pid-file pid ID\n",
	.options = options,
	.options_size = sizeof(struct exec_options),
	.args_min = 1,
	.args_max = -1,
	.run = run,
};
