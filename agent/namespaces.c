// SPDX-License-Identifier: Apache-2.0
#include "agent/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/mounts.h"
#include "base/err.h"
#include "base/own.h"
#include "base/userns.h"
#include "oci/oci.h"

// needs CONFIG_TIME_NS
// needs CONFIG_USER_NS

static bool has_new(const struct oci_linux *l, enum oci_ns kind)
{
	return l->ns[kind].present && !l->ns[kind].path;
}

// ---- user
int userns_aid_make(const struct oci_config *c, struct userns_aid *ret, struct err *e)
{
	int nodes AUTO_CLOSE = -1, sysfs AUTO_CLOSE = -1, r;

	ret->nodes = ret->sysfs = -1;
	if (!c->lin.ns[OCI_NS_USER].present)
		return 0;
	nodes = filesystem_mount("tmpfs", "nodes", "mode=755", 0, e);
	r = nodes < 0 ? nodes : devices_make_nodes(nodes, c, e);
	if (r < 0)
		return err_wrap(e, "linux.namespaces: user");
	sysfs = open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (sysfs < 0)
		return err_errno(e, errno, "linux.namespaces: user: /sys");
	ret->nodes = take_fd(&nodes);
	ret->sysfs = take_fd(&sysfs);
	return 0;
}

void userns_aid_close(struct userns_aid *aid)
{
	close_fd(take_fd(&aid->nodes));
	close_fd(take_fd(&aid->sysfs));
}

int userns_write_maps(const struct oci_linux *l, pid_t pid, struct err *e)
{
	char uids[OCI_ID_MAPS_BYTES], gids[OCI_ID_MAPS_BYTES];
	int proc AUTO_CLOSE = -1, r;

	if (!has_new(l, OCI_NS_USER))
		return 0;
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return err_errno(e, errno, "/proc");
	if (oci_id_maps_text(&l->uid_maps, uids) < 0 || oci_id_maps_text(&l->gid_maps, gids) < 0)
		return err_set(e, E2BIG, "linux.uidMappings: more than %d bytes of text",
			       OCI_ID_MAPS_BYTES - 1);
	r = userns_map(proc, pid, uids, gids, e);
	return r < 0 ? err_wrap(e, "linux.uidMappings and linux.gidMappings") : 0;
}

static int guest_id(const struct oci_linux *l, const struct oci_id_maps *m, uint32_t id,
		    uint32_t *ret, const char *field, struct err *e)
{
	*ret = id;
	if (!l->ns[OCI_NS_USER].present || oci_id_maps_host(m, id, ret) == 0)
		return 0;
	return err_set(e, EINVAL, "%s: %u has no id in the user namespace's maps", field, id);
}

int userns_uid(const struct oci_linux *l, uint32_t uid, uint32_t *ret, const char *field,
	       struct err *e)
{
	return guest_id(l, &l->uid_maps, uid, ret, field, e);
}

int userns_gid(const struct oci_linux *l, uint32_t gid, uint32_t *ret, const char *field,
	       struct err *e)
{
	return guest_id(l, &l->gid_maps, gid, ret, field, e);
}

int child_container_root(const struct oci_linux *l, struct err *e)
{
	if (!l->ns[OCI_NS_USER].present)
		return 0;
	// The raw calls: this process has one thread, and the C library's would signal others.
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setgroups, 0, NULL) < 0)
		return err_errno(e, errno, "linux.gidMappings: becoming the container's group 0");
	if (syscall(SYS_setresuid, 0, 0, 0) < 0)
		return err_errno(e, errno, "linux.uidMappings: becoming the container's root");
	return 0;
}

// ---- time
// The offsets of a namespace are written before anybody is in it, and that is by entering what unshare has made for
// children.
int child_time(const struct oci_linux *l, struct err *e)
{
	int offsets AUTO_CLOSE = -1, ns AUTO_CLOSE = -1;

	if (!has_new(l, OCI_NS_TIME))
		return 0;
	if (unshare(CLONE_NEWTIME) < 0)
		return err_errno(e, errno, "linux.namespaces: time");
	offsets = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (offsets < 0)
		return err_errno(e, errno, "linux.timeOffsets");
	for (unsigned i = 0; i < OCI_CLOCKS; i++) {
		const struct oci_time_offset *o = &l->time_offset[i];

		if (o->set && dprintf(offsets, "%s %lld %u\n", oci_clock_name[i],
				      (long long)o->secs, o->nanosecs) < 0)
			return err_errno(e, errno, "linux.timeOffsets: %s", oci_clock_name[i]);
	}
	ns = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWTIME) < 0)
		return err_errno(e, errno, "linux.namespaces: time: entering it");
	return 0;
}

// ---- uts
int child_names(const struct oci_config *c, struct err *e)
{
	if (c->hostname && sethostname(c->hostname, strlen(c->hostname)) < 0)
		return err_errno(e, errno, "hostname");
	if (c->domainname && setdomainname(c->domainname, strlen(c->domainname)) < 0)
		return err_errno(e, errno, "domainname");
	return 0;
}
