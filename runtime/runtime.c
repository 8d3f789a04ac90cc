// SPDX-License-Identifier: Apache-2.0
#include "runtime/runtime.h"

#include "base/err.h"
#include "runtime/locate.h"
#include "runtime/store.h"
#include "runtime/usock.h"

_Static_assert((int)RUNTIME_PATH_BYTES >= (int)LOCATE_BYTES, "what locate_program writes");

int runtime_locate(const char *name, char buf[RUNTIME_PATH_BYTES], struct err *e)
{
	return locate_program(name, buf, e);
}

int runtime_connect(const char *root, const char *id, struct err *e)
{
	struct store_container c = { 0 };
	char dir[STORE_PATH_BYTES];
	int r = store_container_read(root, id, &c, e);

	if (r < 0)
		return r;
	r = store_pod_path(root, c.pod, NULL, dir, e);
	store_container_done(&c);
	return r < 0 ? r : usock_connect(dir, "supervisor.sock", e);
}
