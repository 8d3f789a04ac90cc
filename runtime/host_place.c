// SPDX-License-Identifier: Apache-2.0
#include "runtime/host_place.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/bundle.h"
#include "runtime/host_cgroup.h"
#include "runtime/store.h"

OWN_DEFINE(struct oci_config *, oci_config_free)

bool host_place_manager_known(const char *manager)
{
	return strcmp(manager, "cgroupfs") == 0 || strcmp(manager, "systemd") == 0 ||
	       strcmp(manager, "disabled") == 0;
}

static int make(const struct host_place_request *q, const struct oci_config *config,
		struct host_place *ret, struct err *e)
{
	struct host_cgroup_plan plan = {
		.id = q->id,
		.systemd = strcmp(q->manager, "systemd") == 0,
		.path = config->lin.cgroups_path,
		.resources = &config->lin.resources,
		.annotations = &config->annotations,
		.guest_bytes = q->guest_bytes,
	};
	int r = host_layout_read(NULL, NULL, &ret->layout, e);

	return r < 0 ? r
		     : host_cgroup_make(&ret->layout, &plan, q->record, q->pid, &ret->cgroup, e);
}

int host_place_make(const struct host_place_request *q, struct host_place *ret, struct err *e)
{
	struct oci_config *config AUTO(oci_config_free) = NULL;
	char *rootfs AUTO_FREE = NULL;
	int r;

	*ret = (struct host_place){ 0 };
	if (strcmp(q->manager, "disabled") == 0)
		return 0;
	r = bundle_read(q->bundle, &config, &rootfs, e);
	return r < 0 ? r : make(q, config, ret, e);
}

int host_place_member(const struct host_place_request *q, const char *root, const char *pod,
		      struct err *e)
{
	struct oci_config *config AUTO(oci_config_free) = NULL;
	struct host_place_request own = *q;
	char *rootfs AUTO_FREE = NULL, dir[STORE_PATH_BYTES];
	struct host_place p = { 0 };
	int r;

	if (strcmp(q->manager, "disabled") == 0)
		return 0;
	if ((r = bundle_read(q->bundle, &config, &rootfs, e)) < 0 ||
	    (r = store_container_path(root, q->id, NULL, dir, e)) < 0)
		return r;
	if (!config->lin.cgroups_path)
		return host_place_join(root, q->id, pod, q->pid, e);
	own.record = dir;
	r = make(&own, config, &p, e);
	host_place_done(&p);
	return r;
}

void host_place_done(struct host_place *p)
{
	host_cgroup_free(p->cgroup);
	p->cgroup = NULL;
	host_layout_done(&p->layout);
}

int host_place_join(const char *root, const char *id, const char *pod, pid_t pid, struct err *e)
{
	char dir[STORE_PATH_BYTES];
	int r = store_container_path(root, id, NULL, dir, e);

	r = r < 0 ? r : host_cgroup_join(dir, pid, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = store_pod_path(root, pod, NULL, dir, e);
	r = r < 0 ? r : host_cgroup_join(dir, pid, e);
	return r < 0 ? r : 0;
}
