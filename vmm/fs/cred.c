// SPDX-License-Identifier: Apache-2.0
// Whose files are made: the thread's file system ids follow the guest's process for the length of one call. setfsuid and
// capset act on the calling thread only, which is what a server wants and why libcap's process-wide calls are not used.
#include "vmm/fs/fs_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FS_NO_ID UINT32_MAX // (uid_t)-1: "no change" to the kernel, so never an owner

static bool cred_has(const struct fs_cred *c, unsigned cap)
{
	return c->caps[CAP_TO_INDEX(cap)].effective & CAP_TO_MASK(cap);
}

static int cred_capset(const struct __user_cap_data_struct *caps)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capset, &hdr, caps) < 0 ? -errno : 0;
}

void fs_cred_init(struct fs_cred *c)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };

	memset(c, 0, sizeof(*c));
	c->uid = geteuid();
	c->gid = getegid();
	if (syscall(SYS_capget, &hdr, c->caps) < 0)
		memset(c->caps, 0, sizeof(c->caps)); // none known is none used
	c->can_switch = cred_has(c, CAP_SETUID) && cred_has(c, CAP_SETGID);
	c->has_fsetid = cred_has(c, CAP_FSETID);
}

int fs_cred_enter(struct fs_cred *c, uint32_t uid, uint32_t gid)
{
	if (uid == FS_NO_ID || gid == FS_NO_ID)
		return -EINVAL;
	if (!c->can_switch || (uid == c->uid && gid == c->gid))
		return 0;
	(void)setfsgid(gid); // they return the old id, not success; asked below
	(void)setfsuid(uid);
	// An fsuid other than 0 takes the file capabilities away, and the guest's kernel has already decided who may do
	// what: the server must not decide again by its own idea of the caller.
	if ((uint32_t)setfsgid((gid_t)-1) != gid || (uint32_t)setfsuid((uid_t)-1) != uid ||
	    cred_capset(c->caps) < 0) {
		fs_cred_leave(c);
		return -EPERM;
	}
	return 0;
}

void fs_cred_leave(struct fs_cred *c)
{
	if (!c->can_switch)
		return;
	(void)setfsuid(c->uid); // to an id of this process: always allowed
	(void)setfsgid(c->gid);
	(void)cred_capset(c->caps); // a subset of what is permitted: always allowed
}

void fs_cred_drop_fsetid(struct fs_cred *c)
{
	struct __user_cap_data_struct caps[2];

	if (!c->has_fsetid)
		return;
	memcpy(caps, c->caps, sizeof(caps));
	caps[CAP_TO_INDEX(CAP_FSETID)].effective &= ~CAP_TO_MASK(CAP_FSETID);
	(void)cred_capset(caps); // taking away is always allowed
}

void fs_cred_restore(struct fs_cred *c)
{
	if (c->has_fsetid)
		(void)cred_capset(c->caps); // as in leave
}
