// SPDX-License-Identifier: Apache-2.0
// The state document: what `state` prints and hooks read.
#ifndef OCI_STATE_H
#define OCI_STATE_H

#include <stdint.h>

#include "oci/config.h"

struct oci_state {
	const char *id, *status, *bundle;     // status: creating, created, running, stopped
	const char *rootfs, *created, *owner; // NULL: left out (hooks)
	int64_t pid;                          // 0 when stopped
	const struct oci_map *annotations;    // left out when NULL or empty
};

// In the runtimes' usual key order, indented by 2, without a final newline. *ret_json is the caller's to free.
int oci_state_print(const struct oci_state *s, char **ret_json, size_t *ret_len, struct err *e);
// The elements of `list --format json` and of a hook's input: one line.
int oci_state_print_compact(const struct oci_state *s, char **ret_json, size_t *ret_len,
			    struct err *e);

// "2026-01-02T03:04:05.123456789Z" (RFC3339Nano: no trailing zeros in the fraction). buf holds at least 40 bytes.
enum { OCI_TIME_BYTES = 40 };
void oci_time_print(int64_t seconds, uint32_t nanos, char *buf);

#endif
