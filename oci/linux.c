// SPDX-License-Identifier: Apache-2.0
// config.json: the linux object without its resources.
#include <string.h>

#include "base/err.h"
#include "oci/tree.h"

const char *const oci_ns_name[OCI_NS_KINDS] = { "pid", "network", "mount",  "ipc",
						"uts", "user",    "cgroup", "time" };

static int parse_namespace(const struct json_at *at, struct oci_linux *l, struct err *e)
{
	const char *names[OCI_NS_KINDS + 1] = { NULL };
	struct json_at type;
	unsigned kind = 0;
	int r;

	memcpy(names, oci_ns_name, sizeof(oci_ns_name)); // and a NULL that ends it
	if (!json_member(at, "type", &type))
		return json_err(&type, e, "required, but absent");
	if ((r = oci_read_enum(&type, names, &kind, e)) < 0)
		return r;
	if (l->ns[kind].present)
		return json_err(at, e, "duplicate namespace \"%s\"", names[kind]);
	l->ns[kind].present = true;
	if ((r = oci_read_text(at, "path", &l->ns[kind].path, e)) < 0)
		return r;
	return l->ns[kind].path ? oci_check_abs_path(at, "path", l->ns[kind].path, e) : 0;
}

static int parse_namespaces(const struct json_at *at, struct oci_linux *l, struct err *e)
{
	struct json_at list;
	size_t n;
	int r;

	if (!json_member(at, "namespaces", &list))
		return 0;
	r = json_is_array(&list, 64, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_item(&list, i);

		r = json_is_object(&item, e);
		if (r == 0)
			r = parse_namespace(&item, l, e);
	}
	return r;
}

static int parse_device(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e)
{
	static const char *const type_name[] = { "c", "b", "p", "u", NULL };
	struct oci_device *d = elem;
	struct json_at type, mode;
	unsigned kind = 0;
	int r;

	(void)t;
	if ((r = oci_need_str(at, "path", &d->path, e)) < 0 ||
	    (r = oci_check_abs_path(at, "path", d->path, e)) < 0)
		return r;
	if (!json_member(at, "type", &type))
		return json_err(&type, e, "required, but absent");
	if ((r = oci_read_enum(&type, type_name, &kind, e)) < 0)
		return r;
	d->type = "cbpc"[kind];
	if (d->type != 'p' && ((r = oci_need_u32(at, "major", &d->major, e)) < 0 ||
			       (r = oci_need_u32(at, "minor", &d->minor, e)) < 0))
		return r;
	if ((r = oci_read_u32(at, "fileMode", &d->file_mode, e)) < 0 ||
	    (r = oci_read_u32(at, "uid", &d->uid, e)) < 0 ||
	    (r = oci_read_u32(at, "gid", &d->gid, e)) < 0)
		return r;
	(void)json_member(at, "fileMode", &mode); // for its path
	if (d->file_mode.set && d->file_mode.v > 07777)
		return json_err(&mode, e, "%u is out of range (at most 4095, which is 07777)",
				d->file_mode.v);
	return 0;
}

static int check_propagation(const struct json_at *at, const struct oci_linux *l, struct err *e)
{
	static const char *const names[] = { "shared",     "slave",       "private",
					     "unbindable", "rshared",     "rslave",
					     "rprivate",   "runbindable", NULL };
	struct json_at sub;
	unsigned ignored;

	if (!l->rootfs_propagation)
		return 0;
	(void)json_member(at, "rootfsPropagation", &sub); // it is there
	return oci_read_enum(&sub, names, &ignored, e);
}

static int check_paths(const struct json_at *at, const char *key, const struct oci_strv *paths,
		       struct err *e)
{
	for (size_t i = 0; i < paths->n; i++) {
		struct json_at list, item;

		if (paths->v[i][0] == '/' && strlen(paths->v[i]) <= OCI_PATH_MAX)
			continue;
		(void)json_member(at, key, &list); // it is there
		item = json_item(&list, i);
		return json_err(&item, e, "\"%.100s\" is not an absolute path", paths->v[i]);
	}
	return 0;
}

static bool has_content(const struct json_at *at, const char *key)
{
	struct json_at sub;

	if (!json_member(at, key, &sub))
		return false;
	return !YAJL_IS_OBJECT(sub.v) || sub.v->u.object.len > 0;
}

// What a user namespace needs and what needs one; which keys of sysctl are legal is the agent's business.
static int check_user_ns(const struct json_at *at, const struct oci_linux *l, struct err *e)
{
	struct json_at sub;

	if (l->ns[OCI_NS_USER].present || (l->uid_maps.n == 0 && l->gid_maps.n == 0))
		return 0;
	(void)json_member(at, l->uid_maps.n ? "uidMappings" : "gidMappings", &sub); // it is there
	return json_err(&sub, e, "id mappings need a user namespace");
}

int oci_parse_linux(struct oci_tree *t, const struct json_at *at, struct oci_linux *l,
		    struct err *e)
{
	struct json_at sub;
	int r;

	if ((r = json_is_object(at, e)) < 0 || (r = parse_namespaces(at, l, e)) < 0 ||
	    (r = oci_read_id_maps(t, at, "uidMappings", &l->uid_maps, e)) < 0 ||
	    (r = oci_read_id_maps(t, at, "gidMappings", &l->gid_maps, e)) < 0 ||
	    (r = check_user_ns(at, l, e)) < 0 ||
	    (r = oci_read_list(t, at, "devices", 4096, sizeof(*l->devices), parse_device,
			       &l->devices, &l->n_devices, e)) < 0)
		return r;
	if (json_member(at, "resources", &sub) &&
	    (r = oci_parse_resources(t, &sub, &l->resources, e)) < 0)
		return r;
	if ((r = oci_read_text(at, "cgroupsPath", &l->cgroups_path, e)) < 0 ||
	    (r = oci_read_map(t, at, "sysctl", &l->sysctl, e)) < 0 ||
	    (r = oci_read_strv(t, at, "maskedPaths", &l->masked_paths, e)) < 0 ||
	    (r = check_paths(at, "maskedPaths", &l->masked_paths, e)) < 0 ||
	    (r = oci_read_strv(t, at, "readonlyPaths", &l->readonly_paths, e)) < 0 ||
	    (r = check_paths(at, "readonlyPaths", &l->readonly_paths, e)) < 0 ||
	    (r = oci_read_text(at, "rootfsPropagation", &l->rootfs_propagation, e)) < 0 ||
	    (r = check_propagation(at, l, e)) < 0 ||
	    (r = oci_read_text(at, "mountLabel", &l->mount_label, e)) < 0)
		return r;
	if (json_member(at, "seccomp", &sub) &&
	    (r = oci_parse_seccomp(t, &sub, &l->seccomp, e)) < 0)
		return r;
	if (json_member(at, "timeOffsets", &sub) && (r = oci_parse_time_offsets(&sub, l, e)) < 0)
		return r;
	if (json_member(at, "personality", &sub) && (r = oci_parse_personality(t, &sub, l, e)) < 0)
		return r;
	if (has_content(at, "memoryPolicy") && json_member(at, "memoryPolicy", &sub) &&
	    (r = oci_parse_memory_policy(t, &sub, &l->memory_policy, e)) < 0)
		return r;
	l->has_intel_rdt = has_content(at, "intelRdt");
	l->has_net_devices = has_content(at, "netDevices");
	return 0;
}
