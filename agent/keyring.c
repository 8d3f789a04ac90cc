// SPDX-License-Identifier: Apache-2.0
// A session keyring of the container's own: keys of the guest's other containers are out of reach.
#include "agent/agent.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

// needs CONFIG_KEYS

// All for its possessor; its user may view, read, link, and search: without that no second process finds it by its name.
#define PERMISSIONS 0x3f1b0000u

int child_keyring(const char *id, struct err *e)
{
	char name[1100];
	long key;

	(void)snprintf(name, sizeof(name), "_ses.%s", id); // an id is at most 1024 bytes
	key = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
	if (key < 0 || syscall(SYS_keyctl, KEYCTL_SETPERM, key, PERMISSIONS) < 0)
		return err_errno(e, errno, "session keyring");
	return 0;
}
