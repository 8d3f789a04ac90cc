// SPDX-License-Identifier: Apache-2.0
#include "runtime/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "base/userns.h"
#include "oci/oci.h"

bool volume_has_option(const struct oci_mount *m, const char *name)
{
	for (size_t i = 0; i < m->options.n; i++) {
		if (strcmp(m->options.v[i], name) == 0)
			return true;
	}
	return false;
}

int volume_map_ids(int tree, const struct oci_config *c, const struct oci_mount *m, struct err *e)
{
	bool all = volume_has_option(m, "ridmap"), own = m->uid_maps.n > 0;
	char uids[OCI_ID_MAPS_BYTES], gids[OCI_ID_MAPS_BYTES];
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP };
	int proc AUTO_CLOSE = -1, ns AUTO_CLOSE = -1;

	if (!own && !all && !volume_has_option(m, "idmap"))
		return 0;
	if (!own && c->lin.uid_maps.n == 0)
		return err_set(e, EINVAL, "id mapping without uidMappings or a user namespace");
	if (oci_id_maps_text(own ? &m->uid_maps : &c->lin.uid_maps, uids) < 0 ||
	    oci_id_maps_text(own ? &m->gid_maps : &c->lin.gid_maps, gids) < 0)
		return err_set(e, E2BIG, "too many id mappings");
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ns = proc < 0 ? err_errno(e, errno, "/proc") : userns_new(proc, uids, gids, e);
	if (ns < 0)
		return err_wrap(e, "id mapping");
	a.userns_fd = (uint64_t)ns;
	if (mount_setattr(tree, "", AT_EMPTY_PATH | (all ? AT_RECURSIVE : 0), &a, sizeof(a)) == 0)
		return 0;
	return errno == EINVAL
		       ? err_set(e, ENOTSUP, "id mapping: not supported by the file system of %s",
				 m->source)
		       : err_errno(e, errno, "id mapping of %s", m->source);
}

int volume_link(const char *source, const char *target, const struct oci_mount *m, struct err *e)
{
	char text[PATH_MAX];
	struct stat st;
	ssize_t n;

	if ((!volume_has_option(m, "copy-symlink") && !volume_has_option(m, "src-nofollow")) ||
	    lstat(source, &st) < 0 || !S_ISLNK(st.st_mode))
		return 0;
	n = readlink(source, text, sizeof(text) - 1);
	if (n < 0)
		return err_errno(e, errno, "readlink %s", source);
	text[n] = '\0';
	return symlink(text, target) < 0 ? err_errno(e, errno, "symlink %s", target) : 1;
}
