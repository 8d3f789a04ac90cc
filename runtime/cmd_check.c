// SPDX-License-Identifier: Apache-2.0
// bulkhead check: what this host offers, and what is missing for a pod.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/cli.h"
#include "runtime/host_config.h"
#include "runtime/host_layout.h"
#include "runtime/locate.h"
#include "vmm/vmm.h"

static bool row(const char *what, int r, const char *good, const struct err *e)
{
	printf("%-18s %-5s %s\n", what, r < 0 ? "no" : "ok", r < 0 ? e->msg : good);
	return r >= 0;
}

static bool check_programs(void)
{
	static const char *const names[] = { "bulkhead-vmm", "bulkhead-fs" };
	char path[LOCATE_BYTES];
	struct err e;
	bool ok = true;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ok = row(names[i], locate_program(names[i], path, &e), path, &e) && ok;
	return ok;
}

static bool check_guest(const struct cli_globals *g)
{
	char path[LOCATE_BYTES];
	struct err e;
	bool ok;
	int r = locate_data("vmlinux", g->kernel, "BULKHEAD_KERNEL", path, &e);

	if (r == 0) {
		r = locate_open_kernel(path, &e);
		close_fd(r);
	}
	ok = row("guest kernel", r, path, &e);
	r = locate_data("initrd.cpio", g->initrd, "BULKHEAD_INITRD", path, &e);
	return row("guest initramfs", r, path, &e) && ok;
}

static bool check_config(const struct cli_globals *g)
{
	struct host_config *h = NULL;
	struct err e;
	int r = host_config_read(g->config, &h, &e);
	bool ok = row("configuration", r, h ? h->path : "", &e);

	host_config_free(h);
	return ok;
}

// One that works is enough; the soft one always should.
static bool check_hypervisors(void)
{
	struct err e;
	bool mshv, soft;

	mshv = row("hypervisor mshv", vmm_hypervisor_probe(VMM_HV_MSHV, &e), "/dev/mshv", &e);
	soft = row("hypervisor soft", vmm_hypervisor_probe(VMM_HV_SOFT, &e),
		   "in software: slow, and not hardware isolation", &e);
	return mshv || soft;
}

// Which hierarchies there are, which of the controllers that a pod's group uses, and whether a group can be made.
static int find_cgroups(const struct host_layout *l, char *text, size_t room, struct err *e)
{
	static const char *const controllers[] = { "cpu", "cpuset", "memory", "pids" };
	size_t n = (size_t)snprintf(text, room, "%s:", host_layout_name(l)); // fits

	if (l->n == 0)
		return err_set(e, ENOENT, "no cgroup file system is mounted: not used");
	for (unsigned c = 0; c < sizeof(controllers) / sizeof(controllers[0]); c++)
		for (unsigned i = 0; i < l->n; i++) {
			if (!host_hierarchy_has(&l->v[i], controllers[c]))
				continue;
			if (access(l->v[i].own, W_OK) < 0)
				return err_errno(e, errno, "%s %s: not used", text, l->v[i].own);
			n += (size_t)snprintf(text + n, room - n, " %s", controllers[c]); // fits
		}
	return 0;
}

static bool check_host(void)
{
	struct host_layout layout;
	char text[64];
	struct err e;
	int r = geteuid() == 0 ? 0
			       : err_set(&e, EPERM,
					 "not root: mounts for the guest's share cannot be made");
	bool ok = row("privileges", r, "root", &e);

	r = host_layout_read(NULL, NULL, &layout, &e);
	r = r < 0 ? r : find_cgroups(&layout, text, sizeof(text), &e);
	host_layout_done(&layout);
	(void)row("cgroups", r, text, &e); // not needed: limits hold in the guest
	return ok;
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	bool ok;

	(void)opts;
	(void)argc;
	(void)argv;
	ok = check_hypervisors();
	ok = check_programs() && ok;
	ok = check_config(g) && ok;
	ok = check_guest(g) && ok;
	ok = check_host() && ok;
	printf("%s\n", ok ? "pods can run here" : "pods cannot run here: see the rows with \"no\"");
	return ok ? 0 : 1;
}

const struct cli_command cmd_check = {
	.name = "check",
	.args = "",
	.summary = "show what this host offers",
	.help = "   One row for each thing a pod needs: ok, or why not. Exits with 1 when pods cannot run.\n",
	.run = run,
};
