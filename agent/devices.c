// SPDX-License-Identifier: Apache-2.0
// Devices of a container: nodes and links in /dev. Which of them may be used: device_filter.c.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

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

static int node(int root, const struct oci_device *d, struct err *e)
{
	mode_t type = d->type == 'b'   ? S_IFBLK
		      : d->type == 'p' ? S_IFIFO
				       : S_IFCHR,
	       mode = d->file_mode.set ? d->file_mode.v & 07777 : 0666;
	const char *slash = strrchr(d->path, '/');
	char parent[4096];
	int dir AUTO_CLOSE = -1;
	struct stat st;

	if (!slash || !slash[1])
		return err_set(e, EINVAL, "linux.devices: %s: not a path of a device", d->path);
	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - d->path),
		       d->path); // paths are at most 4095 bytes
	dir = rootfs_open(root, *parent ? parent : "/", ROOTFS_DIR, e);
	if (dir < 0)
		return dir;
	if (mknodat(dir, slash + 1, type | mode, makedev(d->major, d->minor)) < 0) {
		if (errno != EEXIST || fstatat(dir, slash + 1, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(e, errno, "linux.devices: %s: mknod", d->path);
		if ((st.st_mode & S_IFMT) != type ||
		    (type != S_IFIFO && st.st_rdev != makedev(d->major, d->minor)))
			return err_set(e, EEXIST,
				       "linux.devices: %s: is there already, and is something else",
				       d->path);
		return 0;
	}
	if (fchmodat(dir, slash + 1, mode, 0) < 0 ||
	    fchownat(dir, slash + 1, d->uid.set ? d->uid.v : 0, d->gid.set ? d->gid.v : 0,
		     AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, errno, "linux.devices: %s", d->path);
	return 0;
}

int devices_make(int root, const struct oci_config *c, struct err *e)
{
	int dev AUTO_CLOSE = rootfs_open(root, "/dev", ROOTFS_DIR, e);
	int r = dev < 0 ? dev : 0;

	for (unsigned i = 0; r == 0 && i < sizeof(defaults) / sizeof(*defaults); i++)
		r = node(root, &defaults[i], e);
	for (size_t i = 0; r == 0 && i < c->lin.n_devices; i++)
		r = node(root, &c->lin.devices[i], e);
	for (unsigned i = 0; r == 0 && i < sizeof(links) / sizeof(*links); i++)
		if (symlinkat(links[i][0], dev, links[i][1]) < 0 && errno != EEXIST)
			r = err_errno(e, errno, "/dev/%s", links[i][1]);
	return r;
}
