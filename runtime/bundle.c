// SPDX-License-Identifier: Apache-2.0
// A bundle on disk: config.json and the root file system it names.
#include "runtime/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

OWN_DEFINE(struct oci_config *, oci_config_free)

static int find_rootfs(const char *bundle, const struct oci_config *c, char **ret_rootfs,
		       struct err *e)
{
	char *path AUTO_FREE = NULL, *real AUTO_FREE = NULL;
	bool absolute = c->root.path[0] == '/';
	struct stat st;

	if (asprintf(&path, "%s%s%s", absolute ? "" : bundle, absolute ? "" : "/", c->root.path) <
	    0) {
		path = NULL; // not defined after a failure
		return err_errno(e, ENOMEM, "root.path");
	}
	real = realpath(path, NULL);
	if (!real)
		return err_errno(e, errno, "root.path: stat %s", path);
	if (stat(real, &st) < 0)
		return err_errno(e, errno, "root.path: stat %s", real);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "root.path: %s: not a directory", real);
	*ret_rootfs = take_ptr(&real);
	return 0;
}

int bundle_read(const char *bundle, struct oci_config **ret_config, char **ret_rootfs,
		struct err *e)
{
	struct oci_config *c AUTO(oci_config_free) = NULL;
	char *path AUTO_FREE = NULL, *text AUTO_FREE = NULL;
	struct stat st;
	size_t len;
	int r;

	if (asprintf(&path, "%s/config.json", bundle) < 0) {
		path = NULL; // not defined after a failure
		return err_errno(e, ENOMEM, "config.json");
	}
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) // a fifo would be waited for
		return err_set(e, EINVAL, "%s: not a regular file", path);
	r = io_read_file(AT_FDCWD, path, OCI_CONFIG_BYTES_MAX, &text, &len, e);
	if (r == -ENOENT)
		return err_set(
			e, ENOENT,
			"JSON specification file config.json not found in %s: no such file or directory",
			bundle);
	if (r < 0)
		return r;
	if ((r = oci_config_parse(text, len, &c, e)) < 0)
		return err_wrap(e, "config.json");
	if ((r = bundle_check(c, e)) < 0)
		return err_wrap(e, "config.json");
	if ((r = find_rootfs(bundle, c, ret_rootfs, e)) < 0)
		return r;
	*ret_config = take_ptr(&c);
	return 0;
}

// Properties whose meaning lies outside the guest, and which nothing here fulfils: an error each, never silence.
int bundle_check(const struct oci_config *c, struct err *e)
{
	if (!c->has_process)
		return err_set(e, EINVAL, "process: required, but absent");
	if (c->vm.image.path)
		return err_set(e, ENOTSUP,
			       "vm.image: not supported: a pod's root is a directory (root.path)");
	if (!c->root.present)
		return err_set(e, EINVAL, "root: required, but absent");
	if (c->lin.has_net_devices)
		return err_set(e, ENOTSUP, "linux.netDevices: not supported");
	if (c->lin.has_intel_rdt)
		return err_set(e, ENOTSUP, "linux.intelRdt: not supported");
	return 0;
}
