// SPDX-License-Identifier: Apache-2.0
// What a bundle may ask for. Every refusal names the key of the host's configuration that would allow it.
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/host_priv.h"

int host_allow_vm(const struct host_config *h, enum host_vm what, struct err *e)
{
	if (h->allow.vm & 1ull << what)
		return 0;
	return err_set(e, EPERM, "not allowed here: \"%s\" is not in allow.vm of %s",
		       host_vm_name[what], h->path);
}

int host_allow_annotation(const struct host_config *h, enum host_annotation what, struct err *e)
{
	if (h->allow.annotations & 1ull << what)
		return 0;
	return err_set(e, EPERM, "not allowed here: \"%s\" is not in allow.annotations of %s",
		       host_annotation_name[what], h->path);
}

// A pattern that ends in a slash is for all below; another one as in a shell, where * does not match a slash.
static bool path_matches(const struct host_list *list, const char *path)
{
	for (size_t i = 0; i < list->n; i++) {
		const char *p = list->v[i];
		size_t len = strlen(p);

		if (p[len - 1] == '/' ? strncmp(p, path, len) == 0
				      : fnmatch(p, path, FNM_PATHNAME | FNM_PERIOD) == 0)
			return true;
	}
	return false;
}

int host_allow_path(const struct host_config *h, enum host_vm what, const char *path, char *ret,
		    struct err *e)
{
	const struct host_list *list = &h->allow.kernel_paths;
	const char *key = "kernelPaths";
	char *real AUTO_FREE = NULL;
	int r = host_allow_vm(h, what, e);

	if (r < 0)
		return r;
	if (what == HOST_VM_HYPERVISOR_PATH) {
		list = &h->allow.hypervisor_paths;
		key = "hypervisorPaths";
	} else if (what == HOST_VM_KERNEL_INITRD) {
		list = &h->allow.initrd_paths;
		key = "initrdPaths";
	}
	real = realpath(path, NULL);
	// One answer for what is not there and for what is not allowed: a bundle's maker learns nothing of other files.
	if (!real || strlen(real) >= PATH_MAX || !path_matches(list, real))
		return err_set(e, EPERM, "%s: not there, or nothing in allow.%s of %s matches it",
			       path, key, h->path);
	memcpy(ret, real, strlen(real) + 1);
	return 0;
}

// Parameters by which the machine works, or that say what is run in it.
static bool is_ours(const char *parameter)
{
	static const char *const ours[] = {
		"init",       "rdinit",    "initrd",  "initrdmem",  "noinitrd", "root",
		"rootfstype", "rootflags", "console", "panic",      "quiet",    "mitigations",
		"reboot",     "mem",       "memmap",  "maxcpus",    "nr_cpus",  "nosmp",
		"acpi",       "noapic",    "nolapic", "bootconfig",
	};
	static const char *const ours_prefix[] = { "cgroup", "swap", "virtio", "hv_" };
	size_t len = strcspn(parameter, "=.");

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (strlen(ours[i]) == len && strncmp(ours[i], parameter, len) == 0)
			return true;
	}
	for (size_t i = 0; i < sizeof(ours_prefix) / sizeof(ours_prefix[0]); i++) {
		if (strncmp(ours_prefix[i], parameter, strlen(ours_prefix[i])) == 0)
			return true;
	}
	return false;
}

int host_allow_parameter(const struct host_config *h, const char *parameter, struct err *e)
{
	// No blanks and no quotes: it stays one word. None of "-" alone: "--" ends the kernel's parameters.
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.,:=+/@%-";
	int r = host_allow_vm(h, HOST_VM_KERNEL_PARAMETERS, e);

	if (r < 0)
		return r;
	if (!parameter[0] || parameter[0] == '-' || parameter[strspn(parameter, allowed)])
		return err_set(e, EINVAL, "\"%.60s\" is not a kernel parameter", parameter);
	if (is_ours(parameter))
		return err_set(e, EPERM, "\"%.60s\" is not a bundle's to set", parameter);
	for (size_t i = 0; i < h->allow.kernel_parameters.n; i++) {
		if (fnmatch(h->allow.kernel_parameters.v[i], parameter, 0) == 0)
			return 0;
	}
	return err_set(e, EPERM, "nothing in allow.kernelParameters of %s matches \"%.60s\"",
		       h->path, parameter);
}
