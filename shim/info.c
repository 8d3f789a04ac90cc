// SPDX-License-Identifier: Apache-2.0
// "-info": what containerd 2 wants to know of a runtime: its features.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"
#include "proto/shim.pb-c.h"
#include "shim/shim.h"

#define FEATURES_TYPE "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

static int print(const char *features, size_t len)
{
	Shim__RuntimeInfo info;
	Shim__RuntimeVersion version;
	Task__Any any;
	char name[] = "io.containerd.bulkhead.v2", number[] = BULKHEAD_VERSION,
	     type[] = FEATURES_TYPE;
	uint8_t *copy AUTO_FREE = malloc(len + 1), *buf AUTO_FREE = NULL;

	shim__runtime_info__init(&info);
	shim__runtime_version__init(&version);
	task__any__init(&any);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, features, len);
	version.version = number;
	any.type_url = type;
	any.value.data = copy;
	any.value.len = len;
	info.name = name;
	info.version = &version;
	info.features = &any;
	buf = malloc(shim__runtime_info__get_packed_size(&info) + 1);
	return buf ? io_write_full(STDOUT_FILENO, buf, shim__runtime_info__pack(&info, buf))
		   : -ENOMEM;
}

int shim_action_info(const struct shim_options *o)
{
	char *text AUTO_FREE = NULL;
	size_t len;
	struct err e;

	(void)o;
	if (oci_features_print(BULKHEAD_VERSION, &text, &len, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	return print(text, len) < 0 ? 1 : 0;
}
