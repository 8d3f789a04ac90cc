// SPDX-License-Identifier: Apache-2.0
// bulkhead check: what this host offers, and what is missing for a pod.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/cli.h"
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

static bool check_host(void)
{
	struct statfs fs;
	struct err e;
	int r = geteuid() == 0 ? 0
			       : err_set(&e, EPERM,
					 "not root: mounts for the guest's share cannot be made");
	bool ok = row("privileges", r, "root", &e);

	r = statfs("/sys/fs/cgroup", &fs) < 0 ? err_errno(&e, errno, "/sys/fs/cgroup")
	    : fs.f_type != CGROUP2_SUPER_MAGIC
		    ? err_set(&e, ENOTSUP, "/sys/fs/cgroup is not cgroup v2")
		    : 0;
	(void)row("cgroups", r, "v2 (host placement is not used: limits hold inside the guest)",
		  &e); // not needed
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
