// SPDX-License-Identifier: Apache-2.0
#include "shim/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"

enum { PATH_BYTES = 4096, CONFIG_BYTES_MAX = 16 << 20, DEPTH_MAX = 64 };
#define ROOT_FILE "bulkhead.root"
#define DEFAULT_ROOT "/run/containerd/bulkhead"

int bundle_root(const char *bundle, const char *ns, char **ret, struct err *e)
{
	char path[PATH_BYTES], *text = NULL;
	size_t len;
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", bundle, ROOT_FILE) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "%s", bundle);
	r = io_read_file(AT_FDCWD, path, PATH_BYTES, &text, &len, e);
	if (r == -ENOENT && asprintf(&text, "%s/%s", DEFAULT_ROOT, ns) < 0)
		return err_errno(e, (text = NULL, ENOMEM), "bundle");
	if (r < 0 && r != -ENOENT)
		return r;
	*ret = text;
	return 0;
}

int bundle_set_root(const char *bundle, const char *root, const char *ns, struct err *e)
{
	char path[PATH_BYTES], text[PATH_BYTES];
	int n = snprintf(text, sizeof(text), "%s/%s", root, ns);

	if (!*root)
		return 0;
	if (root[0] != '/' || n >= (int)sizeof(text) ||
	    snprintf(path, sizeof(path), "%s/%s", bundle, ROOT_FILE) >= (int)sizeof(path))
		return err_set(e, EINVAL, "options: root %.200s", root);
	return io_write_file(AT_FDCWD, path, text, (size_t)n, 0600, e);
}

// Whoever names a pod first: containerd's CRI, CRI-O, the shims of runc.
static const char *const keys[] = { "io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id",
				    "io.kubernetes.cri-o.SandboxID", "io.kubernetes.sandbox.id" };

static int group_of(yajl_val tree, const char *id, char **ret, struct err *e)
{
	struct json_at top = json_top(tree), annotations, value;
	const char *group = id;
	int r = 0;

	if (json_member(&top, "annotations", &annotations) && json_is_object(&annotations, e) == 0)
		for (size_t i = 0; r == 0 && i < sizeof(keys) / sizeof(keys[0]); i++)
			if (json_member(&annotations, keys[i], &value)) {
				r = json_string(&value, 1024, &group, e);
				break;
			}
	if (r < 0)
		return r;
	*ret = strdup(*group ? group : id);
	return *ret ? 0 : err_errno(e, ENOMEM, "bundle");
}

int bundle_group(const char *bundle, const char *id, char **ret, struct err *e)
{
	char path[PATH_BYTES], *text AUTO_FREE = NULL;
	yajl_val tree = NULL;
	size_t len;
	int r;

	if (snprintf(path, sizeof(path), "%s/config.json", bundle) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "%s", bundle);
	r = io_read_file(AT_FDCWD, path, CONFIG_BYTES_MAX, &text, &len, e);
	if (r == -ENOENT) { // a sandbox that is no container
		*ret = strdup(id);
		return *ret ? 0 : err_errno(e, ENOMEM, "bundle");
	}
	if (r < 0 || (r = json_parse(text, len, DEPTH_MAX, &tree, e)) < 0)
		return r;
	r = group_of(tree, id, ret, e);
	yajl_tree_free(tree);
	return r;
}
