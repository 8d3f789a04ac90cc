// SPDX-License-Identifier: Apache-2.0
// User, groups, the five capability sets and no_new_privs, in the order in which each still may be done.
#include "agent/agent.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "oci/oci.h"

// Bits of a list of names. Names that this kernel does not know are left out, as runc does.
static uint64_t bits(const struct oci_strv *names)
{
	uint64_t v = 0;

	for (size_t i = 0; i < names->n; i++) {
		cap_value_t cap;

		if (cap_from_name(names->v[i], &cap) == 0 && cap >= 0 && cap < 64 &&
		    prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0)
			v |= 1ull << cap;
	}
	return v;
}

static int cap_set(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
		  (uint32_t)(inheritable >> 32) },
	};

	return (int)syscall(SYS_capset, &h, d);
}

static int become(const struct oci_process *p, struct err *e)
{
	if (setgroups(p->n_additional_gids, p->additional_gids) < 0)
		return err_errno(e, errno, "process.user.additionalGids: setgroups");
	// The raw calls: this process has one thread, and the C library's would signal others.
	if (syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0)
		return err_errno(e, errno, "process.user.gid: setresgid");
	if (syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0)
		return err_errno(e, errno, "process.user.uid: setresuid");
	return 0;
}

int child_capabilities(const struct oci_process *p, struct err *e)
{
	uint64_t bounding = bits(&p->capabilities.bounding),
		 effective = bits(&p->capabilities.effective);
	uint64_t permitted = bits(&p->capabilities.permitted),
		 inheritable = bits(&p->capabilities.inheritable);
	uint64_t ambient = bits(&p->capabilities.ambient);
	int r;

	for (int cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) < 0)
			break;
		if (!(bounding >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_errno(e, errno, "process.capabilities.bounding");
	}
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "PR_SET_KEEPCAPS");
	r = become(p, e);
	if (r < 0)
		return r;
	if (cap_set(effective, permitted, inheritable) < 0)
		return err_errno(e, errno, "process.capabilities: capset");
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0,
		    0); // the set is empty if this fails
	for (int cap = 0; cap < 64; cap++)
		if ((ambient >> cap & 1) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return err_errno(e, errno, "process.capabilities.ambient");
	if (p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "process.noNewPrivileges");
	return 0;
}
