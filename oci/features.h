// SPDX-License-Identifier: Apache-2.0
// The features document: what this runtime honours, and nothing else.
#ifndef OCI_FEATURES_H
#define OCI_FEATURES_H

#include <stddef.h>

struct err;

// version is the runtime's own. *ret_json is the caller's to free; indented, with a final newline.
int oci_features_print(const char *version, char **ret_json, size_t *ret_len, struct err *e);

#endif
