// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/client.h"

// Who says that a container belongs to a sandbox, and how. Without a type, a sandbox's id alone says it: its own for the
// sandbox itself.
static const struct {
	const char *type, *sandbox;
} annotations[] = {
	{ "io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id" },
	{ "io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID" }, // and podman
};

static const struct {
	enum oci_ns kind;
	const char *name; // below /proc/PID/ns
	int flag;
	bool shared; // a container can join another's
} kinds[] = {
	// Those that a proxy has of its own come first.
	{ OCI_NS_NETWORK, "net", CLONE_NEWNET, true },
	{ OCI_NS_IPC, "ipc", CLONE_NEWIPC, true },
	{ OCI_NS_UTS, "uts", CLONE_NEWUTS, true },
	{ OCI_NS_PID, "pid", CLONE_NEWPID, true },
	{ OCI_NS_MOUNT, "mnt", CLONE_NEWNS, false },
	{ OCI_NS_USER, "user", CLONE_NEWUSER, false },
	{ OCI_NS_CGROUP, "cgroup", CLONE_NEWCGROUP, false },
	{ OCI_NS_TIME, "time", CLONE_NEWTIME, false },
};

OWN_DEFINE(char **, store_ids_free)

struct found {
	struct store_container c;
};

static void own_found_done_(struct found *f)
{
	store_container_done(&f->c);
}
#define AUTO_FOUND __attribute__((cleanup(own_found_done_)))

// ---- by annotation
// The container `sandbox` has a pod that lives; key is what names it.
static int join_sandbox(const char *root, const char *sandbox, const char *key, struct placement *p,
			struct err *e)
{
	struct found f AUTO_FOUND = { 0 };
	struct client_state now;
	int r = store_check_id(sandbox, e);

	r = r < 0 ? r : store_container_read(root, sandbox, &f.c, e);
	if (r == -ENOENT)
		return err_set(e, ENOENT, "annotations: %s: there is no pod sandbox %s", key,
			       sandbox);
	r = r < 0 ? r : client_look(root, &f.c, &now, e);
	if (r < 0)
		return err_wrap(e, "annotations: %s", key);
	if (now.status == CLIENT_STOPPED)
		return err_set(e, EBUSY, "annotations: %s: the pod sandbox %s has ended", key,
			       sandbox);
	p->member = true;
	p->pod = take_ptr(&f.c.pod);
	p->supervisor = f.c.supervisor;
	return 0;
}

static int by_annotation(const char *root, const char *id, const struct oci_config *c,
			 struct placement *p, struct err *e)
{
	for (size_t i = 0; i < sizeof(annotations) / sizeof(annotations[0]); i++) {
		const char *type = oci_map_get(&c->annotations, annotations[i].type);
		const char *sandbox = oci_map_get(&c->annotations, annotations[i].sandbox);

		if (!type && !sandbox)
			continue;
		if (type && strcmp(type, "sandbox") == 0)
			return 0;
		if (type && strcmp(type, "container") != 0)
			return err_set(
				e, EINVAL,
				"annotations: %s: \"%.40s\" is neither sandbox nor container",
				annotations[i].type, type);
		if (!sandbox)
			return err_set(e, EINVAL,
				       "annotations: %s is absent, but %s says container",
				       annotations[i].sandbox, annotations[i].type);
		return !type && strcmp(sandbox, id) == 0
			       ? 0
			       : join_sandbox(root, sandbox, annotations[i].sandbox, p, e);
	}
	return 0;
}

// ---- by path
static bool same_namespace(const char *path, pid_t proxy, const char *name)
{
	char other[64];
	struct stat a, b;

	(void)snprintf(other, sizeof(other), "/proc/%ld/ns/%s", (long)proxy, name); // fits
	return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

// Is it the namespace of the container's proxy? By its pid; a network, ipc or uts namespace also by itself, as long as the
// pod is known already: two containers that are given the same network of the host are not one pod for that.
static bool names(const char *path, size_t k, const struct store_container *c, const char *pod)
{
	char proxy[64];

	(void)snprintf(proxy, sizeof(proxy), "/proc/%ld/ns/%s", (long)c->proxy.pid, kinds[k].name);
	if (strcmp(path, proxy) != 0 &&
	    !(k < PLACEMENT_HOST_NS && pod && strcmp(pod, c->pod) == 0 &&
	      same_namespace(path, c->proxy.pid, kinds[k].name)))
		return false;
	return store_process_alive(&c->proxy);
}

static int find_owner(const char *root, const char *path, size_t k, const char *pod,
		      struct store_container *ret, struct err *e)
{
	char **ids AUTO(store_ids_free) = NULL;
	int r = store_list(root, &ids, e);

	for (size_t i = 0; r == 0 && ids[i]; i++) {
		struct found f AUTO_FOUND = { 0 };

		// One that is damaged, or deleted at this moment, is not it.
		if (store_container_read(root, ids[i], &f.c, NULL) < 0 ||
		    !names(path, k, &f.c, pod))
			continue;
		*ret = f.c;
		f.c = (struct store_container){ 0 };
		return 1;
	}
	return r;
}

static int take_path(const char *root, const char *path, size_t k, struct placement *p,
		     struct err *e)
{
	const char *type = oci_ns_name[kinds[k].kind];
	struct found f AUTO_FOUND = { 0 };
	int r = find_owner(root, path, k, p->pod, &f.c, e);

	if (r < 0)
		return r;
	if (r == 0)
		return kinds[k].kind == OCI_NS_NETWORK
			       ? 0 // the host's: the proxy's, and nothing to the guest
			       : err_set(e, ENOTSUP,
					 "linux.namespaces: %s: %s: not of a container here, and a "
					 "guest cannot join one of the host's",
					 type, path);
	if (!kinds[k].shared)
		return err_set(
			e, ENOTSUP,
			"linux.namespaces: %s: %s: joining that of container %s is not supported",
			type, path, f.c.id);
	if (p->pod && strcmp(p->pod, f.c.pod) != 0)
		return err_set(
			e, EINVAL,
			"linux.namespaces: %s: %s: of container %s in pod %s, but the others are of pod %s",
			type, path, f.c.id, f.c.pod, p->pod);
	p->from[kinds[k].kind] = take_ptr(&f.c.id);
	if (!p->pod)
		p->pod = take_ptr(&f.c.pod);
	p->member = true;
	p->supervisor = f.c.supervisor;
	return 0;
}

static int by_paths(const char *root, const struct oci_config *c, struct placement *p,
		    struct err *e)
{
	int r = 0;

	for (size_t k = 0; r == 0 && k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		const char *path = c->lin.ns[kinds[k].kind].path;

		if (path)
			r = take_path(root, path, k, p, e);
	}
	return r;
}

// ---- the proxy's
static int open_namespace(const char *path, size_t k, struct err *e)
{
	const char *type = oci_ns_name[kinds[k].kind];
	int fd AUTO_CLOSE = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_errno(e, errno, "linux.namespaces: %s: open %s", type, path);
	if (ioctl(fd, NS_GET_NSTYPE) != kinds[k].flag)
		return err_set(e, EINVAL, "linux.namespaces: %s: %s: is no such namespace", type,
			       path);
	return take_fd(&fd);
}

static int host_namespaces(const struct oci_config *c, struct placement *p, struct err *e)
{
	for (size_t k = 0; k < PLACEMENT_HOST_NS; k++) {
		const char *path = c->lin.ns[kinds[k].kind].path;

		if (!c->lin.ns[kinds[k].kind].present)
			continue;
		if (!path) {
			p->make |= kinds[k].flag;
			continue;
		}
		p->join[k] = open_namespace(path, k, e);
		if (p->join[k] < 0)
			return p->join[k];
	}
	return 0;
}

int placement_enter(const struct placement *p, struct err *e)
{
	for (size_t k = 0; k < PLACEMENT_HOST_NS; k++)
		if (p->join[k] >= 0 && setns(p->join[k], kinds[k].flag) < 0)
			return err_errno(e, errno, "linux.namespaces: %s: joining it",
					 oci_ns_name[kinds[k].kind]);
	if (p->make && unshare(p->make) < 0)
		return err_errno(e, errno, "namespaces of the proxy process");
	return 0;
}

// ---- both
int placement_decide(const char *root, const char *id, const struct oci_config *c,
		     struct placement *ret, struct err *e)
{
	int r;

	*ret = (struct placement){ .join = { -1, -1, -1 } };
	r = by_annotation(root, id, c, ret, e);
	r = r < 0 ? r : by_paths(root, c, ret, e);
	r = r < 0 ? r : host_namespaces(c, ret, e);
	if (r == 0 && !ret->pod && !(ret->pod = strdup(id)))
		r = err_errno(e, ENOMEM, "pod");
	return r;
}

void placement_done(struct placement *p)
{
	free(p->pod);
	for (size_t i = 0; i < OCI_NS_KINDS; i++)
		free(p->from[i]);
	for (size_t k = 0; k < PLACEMENT_HOST_NS; k++)
		close_fd(p->join[k]);
	*p = (struct placement){ .join = { -1, -1, -1 } };
}
