// SPDX-License-Identifier: Apache-2.0
// The end of a container's and a pod's state.
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/host_cgroup.h"
#include "runtime/store.h"
#include "runtime/tree.h"

OWN_DEFINE(char **, store_ids_free)

int store_remove_pod(const char *root, const char *id, struct err *e)
{
	char path[STORE_PATH_BYTES];
	int r = store_pod_path(root, id, NULL, path, e);

	r = r < 0 ? r : host_cgroup_discard(path, e);
	return r < 0 ? r : tree_remove(path, e);
}

static int remove_container(const char *root, const char *id, struct err *e)
{
	char dir[STORE_PATH_BYTES], path[STORE_PATH_BYTES];
	int r = store_container_path(root, id, "state.json", path, e);

	if (r < 0 || (r = store_container_path(root, id, NULL, dir, e)) < 0 ||
	    (r = host_cgroup_discard(dir, e)) < 0)
		return r;
	(void)unlink(path); // first: without it there is no container, whatever comes next
	return tree_remove(dir, e);
}

int store_remove(const char *root, const char *id, struct err *e)
{
	int r = store_remove_pod(root, id, e);

	return r < 0 ? r : remove_container(root, id, e);
}

static bool pod_used(const char *root, const char *id, const char *except)
{
	char **ids AUTO(store_ids_free) = NULL;
	bool used = false;
	int r = store_list(root, &ids, NULL);

	for (size_t i = 0; r == 0 && ids[i] && !used; i++) {
		struct store_container c = { 0 };

		if ((except && strcmp(ids[i], except) == 0) ||
		    store_container_read(root, ids[i], &c, NULL) < 0)
			continue;
		used = strcmp(c.pod, id) == 0;
		store_container_done(&c);
	}
	return used;
}

bool store_pod_used(const char *root, const char *id)
{
	return pod_used(root, id, NULL);
}

int store_forget(const char *root, const char *id, const char *pod, struct err *e)
{
	bool own = strcmp(id, pod) == 0;
	int lock AUTO_CLOSE = -1, r;

	// Its own state last, if it can be: without it nothing would show what could not be removed.
	if (own && !pod_used(root, id, id))
		return store_remove(root, id, e);
	r = remove_container(root, id, e);
	if (r < 0 || own)
		return r;
	// Who creates or deletes the container that gave the pod its name looks after the directory itself.
	lock = store_lock(root, pod, true, NULL);
	if (lock < 0 || store_exists(root, pod))
		return 0;
	return store_pod_used(root, pod) ? remove_container(root, pod, e)
					 : store_remove(root, pod, e);
}
