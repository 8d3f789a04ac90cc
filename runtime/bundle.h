// SPDX-License-Identifier: Apache-2.0
// A bundle on disk: config.json and the root file system it names.
#ifndef RUNTIME_BUNDLE_H
#define RUNTIME_BUNDLE_H

#include "oci/oci.h"

// Reads, parses and checks BUNDLE/config.json; *ret_rootfs is the root's absolute path. Both are the caller's.
int bundle_read(const char *bundle, struct oci_config **ret_config, char **ret_rootfs,
		struct err *e);
// What can be refused without asking the guest, by name.
int bundle_check(const struct oci_config *c, struct err *e);

#endif
