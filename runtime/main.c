// SPDX-License-Identifier: Apache-2.0
// bulkhead: global options, then a sub-command from the table.
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/cli.h"
#include "runtime/host_config.h"
#include "runtime/host_place.h"
#include "runtime/sizing.h"

const struct cli_command *const cli_commands[] = {
	&cmd_check, &cmd_completion, &cmd_create, &cmd_delete, &cmd_events,
	&cmd_exec,  &cmd_features,   &cmd_kill,   &cmd_list,   &cmd_pause,
	&cmd_ps,    &cmd_resume,     &cmd_run,    &cmd_spec,   &cmd_start,
	&cmd_state, &cmd_supervisor, &cmd_update, NULL,
};

#define G(member) offsetof(struct cli_globals, member)
const struct cli_option cli_global_options[] = {
	{ "debug", 0, CLI_FLAG, G(debug), NULL, "log more" },
	{ "log", 0, CLI_STRING, G(log), "FILE",
	  "append the log to FILE (default: standard error)" },
	{ "log-format", 0, CLI_STRING, G(log_format), "FORMAT", "text (default) or json" },
	{ "root", 0, CLI_STRING, G(root), "DIR",
	  "where containers' state is kept (default /run/bulkhead; not root: $XDG_RUNTIME_DIR/bulkhead)" },
	{ "config", 0, CLI_STRING, G(config), "FILE",
	  "the host's configuration (default " HOST_CONFIG_PATH "; also $" HOST_CONFIG_ENV ")" },
	{ "hypervisor", 0, CLI_STRING, G(hypervisor), "NAME", "auto (default), mshv or soft" },
	{ "kernel", 0, CLI_STRING, G(kernel), "FILE",
	  "guest kernel, an ELF vmlinux (also $BULKHEAD_KERNEL)" },
	{ "initrd", 0, CLI_STRING, G(initrd), "FILE",
	  "initramfs with the agent (also $BULKHEAD_INITRD)" },
	{ "memory", 0, CLI_STRING, G(memory), "MIB",
	  "guest memory in MiB (default: from the container's limit, or 128)" },
	{ "vcpus", 0, CLI_STRING, G(vcpus), "N",
	  "virtual processors of the guest, 1 to 8 (default: from the quota, or 1)" },
	{ "timings", 0, CLI_FLAG, G(timings), NULL, "with run: print where the time went" },
	{ "systemd-cgroup", 0, CLI_FLAG, G(systemd_cgroup), NULL,
	  "cgroupsPath is slice:prefix:name" },
	{ "criu", 0, CLI_IGNORED_STRING, 0, "PATH", "accepted, ignored" },
	{ "rootless", 0, CLI_IGNORED_STRING, 0, "VALUE", "accepted, ignored" },
	{ "cgroup-manager", 0, CLI_STRING, G(cgroup_manager), "NAME",
	  "cgroupfs (default), systemd, or disabled: no cgroup on the host" },
	{ "version", 'v', CLI_FLAG, G(version), NULL, "print the version" },
	CLI_END,
};

// The lines that dockerd looks for, in the order of runc.
static void print_version(void)
{
	const struct scmp_version *seccomp = seccomp_version();

	printf("bulkhead version %s\n", BULKHEAD_VERSION);
	if (BULKHEAD_COMMIT[0]) // none: not built in a repository
		printf("commit: %s\n", BULKHEAD_COMMIT);
	printf("spec: %s\nlibseccomp: %u.%u.%u\n", OCI_VERSION, seccomp->major, seccomp->minor,
	       seccomp->micro);
}

static void print_usage(void)
{
	printf("NAME:\n   bulkhead - OCI runtime that gives every pod a virtual machine\n\n"
	       "USAGE:\n   bulkhead [global options] command [command options] [arguments...]\n\n"
	       "   A bundle is a directory with config.json and a root file system. For example:\n\n"
	       "      mkdir -p bundle/rootfs/bin && cp /bin/busybox bundle/rootfs/bin/sh\n"
	       "      cd bundle && bulkhead spec      # writes config.json; set process.terminal to false\n"
	       "      bulkhead run first              # boots a guest, runs it, removes it\n\n"
	       "VERSION:\n   %s\n\nCOMMANDS:\n",
	       BULKHEAD_VERSION);
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		if (!(*c)->hidden)
			printf("   %-12s %s\n", (*c)->name, (*c)->summary);
	}
	printf("\n   bulkhead COMMAND --help says more about one of them.\n\nGLOBAL OPTIONS:\n");
	cli_print_options(cli_global_options);
}

static void print_command_help(const struct cli_command *c)
{
	printf("NAME:\n   bulkhead %s - %s\n\nUSAGE:\n   bulkhead %s%s %s\n\n%s", c->name,
	       c->summary, c->name, c->options ? " [command options]" : "", c->args, c->help);
	printf("\nOPTIONS:\n");
	cli_print_options(c->options);
}

static const struct cli_command *find_command(const char *name)
{
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		if (strcmp((*c)->name, name) == 0)
			return *c;
	}
	return NULL;
}

static const char *default_root(char *path, size_t room)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0 || !dir || dir[0] != '/')
		return "/run/bulkhead";
	(void)snprintf(path, room, "%s/bulkhead", dir); // a cut path fails where it is used
	return path;
}

// The log file stays open for the life of the process.
static int start_log(const struct cli_globals *g)
{
	enum log_format format = LOG_TEXT;
	enum log_level level = g->debug ? LOG_DEBUG : LOG_INFO;
	int fd = STDERR_FILENO;

	if (g->log && g->log[0]) {
		fd = open(g->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
		if (fd < 0) {
			log_error("open %s: %m", g->log);
			return -1;
		}
		log_plain_stderr(true);
	}
	if (g->log_format && strcmp(g->log_format, "json") == 0) {
		format = LOG_JSON;
	} else if (g->log_format && g->log_format[0] && strcmp(g->log_format, "text") != 0) {
		log_error("invalid log-format: %s", g->log_format);
		return -1;
	}
	log_init(NULL, fd, format, level);
	return 0;
}

// "requires exactly N argument(s)", in the words callers look for.
static int check_args(const struct cli_command *c, int n)
{
	if (n >= c->args_min && (c->args_max < 0 || n <= c->args_max))
		return 0;
	print_command_help(c);
	if (c->args_min == c->args_max)
		(void)fprintf(stderr, "bulkhead: \"%s\" requires exactly %d argument(s)\n", c->name,
			      c->args_min);
	else if (n < c->args_min)
		(void)fprintf(stderr, "bulkhead: \"%s\" requires a minimum of %d argument(s)\n",
			      c->name, c->args_min);
	else
		(void)fprintf(stderr, "bulkhead: \"%s\" requires a maximum of %d argument(s)\n",
			      c->name, c->args_max);
	return -1;
}

static int run_command_with(const struct cli_globals *g, const struct cli_command *c, void *opts,
			    int argc, char **argv)
{
	struct err e = { 0 };
	bool help = false;
	int used = 0;

	if (cli_parse(c->options, opts, argc, argv, &used, &help, &e) < 0) {
		(void)fprintf(stderr, "Incorrect Usage: %s\n\n",
			      e.msg); // the log line below is the error
		print_command_help(c);
		return cli_fail(&e);
	}
	if (help) {
		print_command_help(c);
		return 0;
	}
	if (check_args(c, argc - used) < 0)
		return 1;
	return c->run(g, opts, argc - used, argv + used);
}

static int run_command(const struct cli_globals *g, const struct cli_command *c, int argc,
		       char **argv)
{
	void *opts AUTO_FREE = calloc(1, c->options_size + 1);
	int status;

	if (!opts) {
		log_error("out of memory");
		return 1;
	}
	status = run_command_with(g, c, opts, argc, argv);
	cli_free_lists(c->options, opts);
	return status;
}

static char *path_join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

int main(int argc, char **argv)
{
	char root[4096];
	char *absolute AUTO_FREE =
		NULL; // of a relative --root: others have another working directory
	struct cli_globals g = { 0 };
	const struct cli_command *c;
	struct err e = { 0 };
	bool help = false;
	int used = 0;

	(void)signal(SIGPIPE, SIG_IGN); // a peer that is gone is an error of its write
	g.cgroup_manager = "cgroupfs";
	g.root = default_root(root, sizeof(root));
	if (cli_parse(cli_global_options, &g, argc - 1, argv + 1, &used, &help, &e) < 0) {
		(void)fprintf(stderr, "Incorrect Usage: %s\n\n",
			      e.msg); // the log line below is the error
		print_usage();
		return cli_fail(&e);
	}
	if (g.root[0] != '/' &&
	    (!getcwd(root, sizeof(root)) || !(absolute = path_join(root, g.root)))) {
		log_error("%s: %m", g.root);
		return 1;
	}
	if (absolute)
		g.root = absolute;
	argc -= 1 + used;
	argv += 1 + used;
	if (g.version) {
		print_version();
		return 0;
	}
	if (help || argc == 0 || strcmp(argv[0], "help") == 0) {
		c = argc > 1 ? find_command(argv[1]) : NULL;
		if (c)
			print_command_help(c);
		else
			print_usage();
		return 0;
	}
	if (start_log(&g) < 0)
		return 1;
	if (g.hypervisor && g.hypervisor[0] && !sizing_is_hypervisor(g.hypervisor)) {
		log_error("unknown hypervisor \"%s\" (auto, mshv or soft)", g.hypervisor);
		return 1;
	}
	if (!host_place_manager_known(g.cgroup_manager)) {
		log_error("unknown cgroup manager \"%s\" (cgroupfs, systemd or disabled)",
			  g.cgroup_manager);
		return 1;
	}
	if (g.systemd_cgroup && strcmp(g.cgroup_manager, "disabled") != 0)
		g.cgroup_manager = "systemd";
	c = find_command(argv[0]);
	if (!c) {
		(void)fprintf(stderr, "No help topic for '%s'\n",
			      argv[0]); // what runc says, with its exit status
		return 3;
	}
	return run_command(&g, c, argc - 1, argv + 1);
}
