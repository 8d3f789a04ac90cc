// SPDX-License-Identifier: Apache-2.0
// linux.resources by itself: what an update brings. The struct is that of config.json.
#ifndef OCI_RESOURCES_H
#define OCI_RESOURCES_H

#include <stdbool.h>
#include <stddef.h>

#include "oci/config.h"

struct err;

enum {
	OCI_LIST_NUMBER_MAX = 8191, // of a processor or a memory node
	OCI_RESOURCES_BYTES_MAX = 1 << 20,
};

struct oci_update {
	struct oci_resources r; // only what the document names is set
	struct oci_tree *tree;  // private
};

// As oci_config_parse, for a document that is linux.resources. What it leaves out is checked against nothing: a swap limit
// without a memory limit is judged where the present one is known.
int oci_update_parse(const char *json, size_t len, struct oci_update **ret_update, struct err *e);
void oci_update_free(struct oci_update *u);

// The next range of a list such as "0-3,5". *at is moved on. False at the end, and where the text is no such list:
// **at then tells, as it is only at the end that nothing is left.
bool oci_list_next(const char **at, unsigned *ret_first, unsigned *ret_last);

#endif
