// SPDX-License-Identifier: Apache-2.0
// linux.sysctl: only what belongs to a namespace that the container has for itself, and the pod's network.
#include "agent/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

static const struct {
	const char *name; // with a final dot: all below it
	enum oci_ns ns;
} namespaced[] = {
	{ "net.", OCI_NS_KINDS }, // the guest's is the pod's own
	{ "fs.mqueue.", OCI_NS_IPC },
	{ "kernel.msgmax", OCI_NS_IPC },
	{ "kernel.msgmnb", OCI_NS_IPC },
	{ "kernel.msgmni", OCI_NS_IPC },
	{ "kernel.sem", OCI_NS_IPC },
	{ "kernel.shmall", OCI_NS_IPC },
	{ "kernel.shmmax", OCI_NS_IPC },
	{ "kernel.shmmni", OCI_NS_IPC },
	{ "kernel.shm_rmid_forced", OCI_NS_IPC },
	{ "kernel.domainname", OCI_NS_UTS },
};

// As sysctl(8) has it: the first separator says which of '.' and '/' it is, and the other one is then a letter.
static int name_to_path(const char *name, char *path, size_t size, struct err *e)
{
	bool slashes = name[strcspn(name, "./")] == '/';
	size_t len = (size_t)snprintf(path, size, "/proc/sys/%s", name);

	if (len >= size || !*name)
		return err_set(e, EINVAL, "linux.sysctl: %.100s: not a name", name);
	for (char *p = path + strlen("/proc/sys/"); *p; p++)
		if (!slashes && (*p == '.' || *p == '/'))
			*p = *p == '.' ? '/' : '.';
	if (strstr(path, "/../") || strstr(path, "//") || strcmp(path + strlen(path) - 1, "/") == 0)
		return err_set(e, EINVAL, "linux.sysctl: %.100s: not a name", name);
	return 0;
}

// *ret_ns: whose it is, OCI_NS_KINDS for the guest's network.
static int check(const struct oci_linux *l, const char *name, const char *path, enum oci_ns *ret_ns,
		 struct err *e)
{
	char dotted[512];

	(void)snprintf(dotted, sizeof(dotted), "%s",
		       path + strlen("/proc/sys/")); // as long as path
	for (char *p = dotted; *p; p++)
		*p = *p == '/' ? '.' : *p;
	if (strcmp(dotted, "kernel.hostname") == 0)
		return err_set(e, EINVAL, "linux.sysctl: kernel.hostname: use hostname");
	for (size_t i = 0; i < sizeof(namespaced) / sizeof(*namespaced); i++) {
		size_t len = strlen(namespaced[i].name);
		bool all = namespaced[i].name[len - 1] == '.';

		if (strncmp(dotted, namespaced[i].name, len) != 0 || (!all && dotted[len]))
			continue;
		*ret_ns = namespaced[i].ns;
		if (namespaced[i].ns == OCI_NS_KINDS || l->ns[namespaced[i].ns].present)
			return 0;
		return err_set(e, EINVAL, "linux.sysctl: %s: needs a container's own %s namespace",
			       name, oci_ns_name[namespaced[i].ns]);
	}
	return err_set(e, EINVAL, "linux.sysctl: %.100s: is not in a separate kernel namespace",
		       name);
}

int child_sysctls(const struct oci_linux *l, bool ipc, struct err *e)
{
	for (size_t i = 0; i < l->sysctl.n; i++) {
		const char *name = l->sysctl.v[i].key, *value = l->sysctl.v[i].value;
		int fd AUTO_CLOSE = -1, r;
		enum oci_ns ns = OCI_NS_KINDS;
		char path[512];

		r = name_to_path(name, path, sizeof(path), e);
		r = r < 0 ? r : check(l, name, path, &ns, e);
		if (r < 0)
			return r;
		if ((ns == OCI_NS_IPC) != ipc)
			continue;
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, value, strlen(value)) < 0)
			return err_errno(e, errno, "linux.sysctl: %s", name);
	}
	return 0;
}
