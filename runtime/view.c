// SPDX-License-Identifier: Apache-2.0
#include "runtime/view.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/json.h"

static int read_annotations(struct view *v, struct err *e)
{
	yajl_val tree = NULL;
	struct json_at top;
	size_t n;
	int r = json_parse(v->container.annotations, strlen(v->container.annotations), 16, &tree,
			   e);

	if (r < 0)
		return r;
	v->tree = tree;
	top = json_top(tree);
	r = json_is_object(&top, e);
	if (r < 0)
		return r;
	n = tree->u.object.len;
	v->annotations.v = calloc(n + 1, sizeof(*v->annotations.v));
	if (!v->annotations.v)
		return err_errno(e, ENOMEM, "annotations");
	v->annotations.n = n;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at at = json_pair(&top, i);

		v->annotations.v[i].key = at.key;
		r = json_string(&at, OCI_STRING_MAX, &v->annotations.v[i].value, e);
	}
	return r;
}

void view_done(struct view *v)
{
	free(v->annotations.v);
	if (v->tree)
		yajl_tree_free(v->tree);
	store_container_done(&v->container);
	*v = (struct view){ 0 };
}

static void name_owner(struct view *v)
{
	char buf[4096];
	struct passwd pw, *found = NULL;

	if (getpwuid_r(v->container.owner, &pw, buf, sizeof(buf), &found) == 0 && found)
		(void)snprintf(v->owner, sizeof(v->owner), "%s", found->pw_name); // cut is fine
	else
		(void)snprintf(v->owner, sizeof(v->owner), "%u", v->container.owner); // fits
}

int view_read(const char *root, const char *id, struct view *ret, struct err *e)
{
	struct client_state now;
	struct view v = { 0 };
	int r = store_check_id(id, e);

	if (r < 0 || (r = store_container_read(root, id, &v.container, e)) < 0)
		return r;
	r = read_annotations(&v, e);
	if (r == 0)
		r = client_look(root, &v.container, &now, e);
	if (r < 0) {
		view_done(&v);
		return r;
	}
	name_owner(&v);
	*ret = v;
	ret->state = (struct oci_state){
		.id = v.container.id,
		.status = client_status_name[now.status],
		.bundle = v.container.bundle,
		.rootfs = v.container.rootfs,
		.created = v.container.created,
		.owner = ret->owner,
		.pid = now.status == CLIENT_STOPPED ? 0 : v.container.proxy.pid,
		.annotations = &ret->annotations,
	};
	return 0;
}
