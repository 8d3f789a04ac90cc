// SPDX-License-Identifier: Apache-2.0
// Devices of a container: nodes and links in /dev. Which of them may be used: device_filter.c.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/namespaces.h"
#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

static const struct oci_device defaults[] = {
	{ "/dev/null", 'c', 1, 3, { 0 }, { 0 }, { 0 } },
	{ "/dev/zero", 'c', 1, 5, { 0 }, { 0 }, { 0 } },
	{ "/dev/full", 'c', 1, 7, { 0 }, { 0 }, { 0 } },
	{ "/dev/tty", 'c', 5, 0, { 0 }, { 0 }, { 0 } },
	{ "/dev/random", 'c', 1, 8, { 0 }, { 0 }, { 0 } },
	{ "/dev/urandom", 'c', 1, 9, { 0 }, { 0 }, { 0 } },
};
static const char *const links[][2] = {
	{ "/proc/self/fd", "fd" },       { "/proc/self/fd/0", "stdin" },
	{ "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" },
	{ "/proc/kcore", "core" },       { "pts/ptmx", "ptmx" },
};

static int make_node(int dir, const char *name, const struct oci_device *d,
		     const struct oci_linux *l, struct err *e)
{
	mode_t type = d->type == 'b'   ? S_IFBLK
		      : d->type == 'p' ? S_IFIFO
				       : S_IFCHR,
	       mode = d->file_mode.set ? d->file_mode.v & 07777 : 0666;
	uint32_t uid, gid;
	struct stat st;
	int r = userns_uid(l, d->uid.set ? d->uid.v : 0, &uid, d->path, e);

	r = r < 0 ? r : userns_gid(l, d->gid.set ? d->gid.v : 0, &gid, d->path, e);
	if (r < 0)
		return err_wrap(e, "linux.devices");
	if (mknodat(dir, name, type | mode, makedev(d->major, d->minor)) < 0) {
		if (errno != EEXIST || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(e, errno, "linux.devices: %s: mknod", d->path);
		if ((st.st_mode & S_IFMT) != type ||
		    (type != S_IFIFO && st.st_rdev != makedev(d->major, d->minor)))
			return err_set(e, EEXIST,
				       "linux.devices: %s: is there already, and is something else",
				       d->path);
		return 0;
	}
	if (fchmodat(dir, name, mode, 0) < 0 ||
	    fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, errno, "linux.devices: %s", d->path);
	return 0;
}

// All nodes of a container, the defaults first. fn gets each with its number.
static int each(const struct oci_config *c,
		int (*fn)(const void *arg, unsigned n, const struct oci_device *d, struct err *e),
		const void *arg, struct err *e)
{
	unsigned n = 0;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < sizeof(defaults) / sizeof(*defaults); i++)
		r = fn(arg, n++, &defaults[i], e);
	for (size_t i = 0; r == 0 && i < c->lin.n_devices; i++)
		r = fn(arg, n++, &c->lin.devices[i], e);
	return r;
}

struct place {
	int root, nodes; // nodes: -1, or a directory where they are made already, by number
	const struct oci_linux *lin;
};

static int make_numbered(const void *arg, unsigned n, const struct oci_device *d, struct err *e)
{
	const struct place *p = arg;
	char name[16];

	(void)snprintf(name, sizeof(name), "%u", n); // fits
	return make_node(p->nodes, name, d, p->lin, e);
}

int devices_make_nodes(int dir, const struct oci_config *c, struct err *e)
{
	struct place p = { -1, dir, &c->lin };

	return each(c, make_numbered, &p, e);
}

static int bind_node(int nodes, unsigned n, int root, const struct oci_device *d, struct err *e)
{
	int at AUTO_CLOSE = rootfs_open(root, d->path, ROOTFS_FILE, e), fd AUTO_CLOSE = -1;
	char name[16];

	if (at < 0)
		return err_wrap(e, "linux.devices");
	(void)snprintf(name, sizeof(name), "%u", n); // fits
	fd = open_tree(nodes, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	if (fd < 0 ||
	    move_mount(fd, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_errno(e, errno, "linux.devices: %s: mount", d->path);
	return 0;
}

static int put_node(const void *arg, unsigned n, const struct oci_device *d, struct err *e)
{
	const struct place *p = arg;
	const char *slash = strrchr(d->path, '/');
	char parent[4096];
	int dir AUTO_CLOSE = -1;

	if (!slash || !slash[1])
		return err_set(e, EINVAL, "linux.devices: %s: not a path of a device", d->path);
	if (p->nodes >= 0)
		return bind_node(p->nodes, n, p->root, d, e);
	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - d->path),
		       d->path); // paths are at most 4095 bytes
	dir = rootfs_open(p->root, *parent ? parent : "/", ROOTFS_DIR, e);
	return dir < 0 ? err_wrap(e, "linux.devices") : make_node(dir, slash + 1, d, p->lin, e);
}

int devices_make(int root, int nodes, const struct oci_config *c, struct err *e)
{
	struct place p = { root, nodes, &c->lin };
	int dev AUTO_CLOSE = rootfs_open(root, "/dev", ROOTFS_DIR, e);
	int r = dev < 0 ? dev : each(c, put_node, &p, e);

	for (unsigned i = 0; r == 0 && i < sizeof(links) / sizeof(*links); i++)
		if (symlinkat(links[i][0], dev, links[i][1]) < 0 && errno != EEXIST)
			r = err_errno(e, errno, "/dev/%s", links[i][1]);
	return r;
}
