// SPDX-License-Identifier: Apache-2.0
// What a config may ask for: everything else is refused before anything is done, by the name of its field.
#include "agent/agent.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "oci/oci.h"

static int seccomp_supported(const struct oci_seccomp *s, struct err *e)
{
	if (!s)
		return 0;
	if (s->default_action == OCI_SCMP_NOTIFY)
		return err_set(
			e, EOPNOTSUPP,
			"linux.seccomp.defaultAction: SCMP_ACT_NOTIFY: nobody outside a guest can answer");
	for (size_t i = 0; i < s->n_rules; i++)
		if (s->rules[i].action == OCI_SCMP_NOTIFY)
			return err_set(
				e, EOPNOTSUPP,
				"linux.seccomp.syscalls[%zu].action: SCMP_ACT_NOTIFY: nobody outside a guest can answer",
				i);
	if (s->listener_path)
		return err_set(
			e, EOPNOTSUPP,
			"linux.seccomp.listenerPath: goes with SCMP_ACT_NOTIFY, which is not supported");
	if (s->flags & OCI_SCMP_FLAG_WAIT_KILLABLE_RECV)
		return err_set(
			e, EOPNOTSUPP,
			"linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: goes with SCMP_ACT_NOTIFY, which is not supported");
	return 0;
}

// The names of the guest's namespaces mean nothing to the host that wrote the config.
static int namespaces_supported(const struct oci_linux *l, struct err *e)
{
	static const enum oci_ns kinds[] = { OCI_NS_MOUNT, OCI_NS_USER, OCI_NS_CGROUP,
					     OCI_NS_TIME };

	if (!l->ns[OCI_NS_MOUNT].present)
		return err_set(e, EINVAL, "linux.namespaces: mount: is required");
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (l->ns[kinds[i]].path)
			return err_set(e, EOPNOTSUPP,
				       "linux.namespaces: %s: a path: joining one is not supported",
				       oci_ns_name[kinds[i]]);
	return 0;
}

// The set-up is the container root's work.
static int root_mapped(const struct oci_linux *l, struct err *e)
{
	uint32_t id;

	if (!l->ns[OCI_NS_USER].present)
		return 0;
	if (oci_id_maps_host(&l->uid_maps, 0, &id) < 0)
		return err_set(e, EINVAL, "linux.uidMappings: none for the container's root");
	if (oci_id_maps_host(&l->gid_maps, 0, &id) < 0)
		return err_set(e, EINVAL, "linux.gidMappings: none for the container's root");
	return 0;
}

int process_supported(const struct oci_process *p, struct err *e)
{
	if (p->apparmor_profile)
		return err_set(e, EOPNOTSUPP,
			       "process.apparmorProfile: the guest kernel has no AppArmor");
	if (p->selinux_label)
		return err_set(e, EOPNOTSUPP,
			       "process.selinuxLabel: the guest kernel has no SELinux");
	return 0;
}

int config_supported(const struct oci_config *c, struct err *e)
{
	int r;

	if (!c->has_process)
		return err_set(e, EINVAL, "process: is required");
	r = process_supported(&c->process, e);
	if (r < 0)
		return r;
	if (c->lin.mount_label)
		return err_set(e, EOPNOTSUPP, "linux.mountLabel: the guest kernel has no SELinux");
	if (c->lin.has_intel_rdt)
		return err_set(e, EOPNOTSUPP, "linux.intelRdt: resctrl is the host's");
	if (c->lin.has_net_devices)
		return err_set(
			e, EOPNOTSUPP,
			"linux.netDevices: interfaces of the host are not moved into a guest");
	r = root_mapped(&c->lin, e);
	if (r < 0)
		return r;
	if ((c->hostname || c->domainname) && !c->lin.ns[OCI_NS_UTS].present)
		return err_set(e, EINVAL, "hostname: needs a uts namespace of its own");
	r = seccomp_supported(c->lin.seccomp, e);
	return r < 0 ? r : namespaces_supported(&c->lin, e);
}
