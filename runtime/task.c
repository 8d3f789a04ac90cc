// SPDX-License-Identifier: Apache-2.0
#include "runtime/task.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/ttrpc.h"
#include "runtime/bundle.h"
#include "runtime/share.h"

OWN_DEFINE(struct oci_config *, oci_config_free)

static int task_load(struct task *t, const char *share_dir, struct err *e)
{
	struct oci_config *c AUTO(oci_config_free) = NULL;
	char *rootfs AUTO_FREE = NULL;
	int r = bundle_read(t->bundle, &c, &rootfs, e);

	if (r < 0)
		return r;
	r = share_add(share_dir, t->id, t->bundle, rootfs, c, &t->config, &t->config_len, e);
	t->shared = r == 0;
	return r;
}

int task_new(struct service *s, const char *share_dir, const char *id, const char *bundle,
	     struct task **ret_task, struct err *e)
{
	struct task *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_errno(e, ENOMEM, "container");
	t->service = s;
	t->proxy_fd = -1;
	t->id = strdup(id);
	t->bundle = strdup(bundle);
	if (!t->id || !t->bundle)
		r = err_errno(e, ENOMEM, "container");
	else
		r = task_load(t, share_dir, e);
	if (r < 0) {
		task_free(t, share_dir);
		return r;
	}
	*ret_task = t;
	return 0;
}

static void fail_call(struct ttrpc_call **call)
{
	if (*call)
		ttrpc_call_fail(*call, TTRPC_NOT_FOUND, "container does not exist");
	*call = NULL;
}

void task_free(struct task *t, const char *share_dir)
{
	if (!t)
		return;
	fail_call(&t->create_call);
	fail_call(&t->start_call);
	fail_call(&t->kill_call);
	while (t->waiters) {
		struct task_waiter *w = t->waiters;

		t->waiters = w->next;
		ttrpc_call_fail(w->call, TTRPC_NOT_FOUND, "container does not exist");
		free(w);
	}
	if (t->shared)
		share_remove(share_dir, t->id);
	loop_remove(t->proxy_src);
	loop_remove(t->kill_timer);
	loop_remove(t->linger_timer);
	close_fd(t->proxy_fd);
	free(t->id);
	free(t->bundle);
	free(t->config);
	free(t);
}
