// SPDX-License-Identifier: Apache-2.0
// bulkhead supervisor: not for people. Started by create and run with its descriptors by number.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/cli.h"
#include "runtime/supervisor.h"

struct supervisor_options {
	const char *memory_bytes, *bundle, *vmm, *kernel_parameters;
	bool timings;
};
static const struct cli_option options[] = {
	{ "memory-bytes", 0, CLI_STRING, offsetof(struct supervisor_options, memory_bytes), "N",
	  "guest memory" },
	{ "bundle", 0, CLI_STRING, offsetof(struct supervisor_options, bundle), "DIR",
	  "of the pod's container" },
	{ "vmm", 0, CLI_STRING, offsetof(struct supervisor_options, vmm), "FILE",
	  "program in place of bulkhead-vmm" },
	{ "kernel-parameters", 0, CLI_STRING,
	  offsetof(struct supervisor_options, kernel_parameters), "TEXT",
	  "added to the guest kernel's" },
	{ "timings", 0, CLI_FLAG, offsetof(struct supervisor_options, timings), NULL,
	  "write marks to descriptor 4" },
	CLI_END,
};

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	const struct supervisor_options *o = opts;
	struct pod_config cfg = {
		.root = g->root,
		.id = argv[0],
		.hypervisor = g->hypervisor,
		.kernel = g->kernel,
		.cgroup_manager = g->cgroup_manager,
		.bundle = o->bundle,
		.initrd = g->initrd,
		.vmm = o->vmm,
		.kernel_parameters = o->kernel_parameters,
		.memory_bytes = o->memory_bytes ? strtoull(o->memory_bytes, NULL, 10) : 0,
		.vcpus = g->vcpus ? (unsigned)strtoul(g->vcpus, NULL, 10) : 1,
		.debug = g->debug,
		.timings_fd = o->timings ? SUPERVISOR_TIMINGS_FD : -1,
	};

	(void)argc;
	if (!g->kernel || !g->initrd || !g->hypervisor || !o->bundle ||
	    fcntl(SUPERVISOR_CHANNEL_FD, F_SETFD, FD_CLOEXEC) < 0)
		return 1;
	if (o->timings && fcntl(SUPERVISOR_TIMINGS_FD, F_SETFD, FD_CLOEXEC) < 0)
		return 1;
	if (chdir("/") < 0) // hold no directory of the caller's
		return 1;
	return supervisor_run(&cfg, SUPERVISOR_CHANNEL_FD) < 0 ? 1 : 0;
}

const struct cli_command cmd_supervisor = {
	.name = "supervisor",
	.args = "ID",
	.summary = "run a pod (internal)",
	.help = "   Internal: create and run start it, with descriptors by number.\n",
	.options = options,
	.options_size = sizeof(struct supervisor_options),
	.args_min = 1,
	.args_max = 1,
	.hidden = true,
	.run = run,
};
