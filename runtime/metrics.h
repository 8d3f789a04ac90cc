// SPDX-License-Identifier: Apache-2.0
// What a guest says it has used: checked, and as the JSON of the `events` command.
#ifndef RUNTIME_METRICS_H
#define RUNTIME_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/metrics.pb-c.h"

struct err;

enum { METRICS_LIST_MAX = 256, METRICS_NAME_MAX = 63 };

// The bytes are a guest's: lists and names are bounded, names printable, and pids, cpu, memory are there, as callers look
// into them without asking. *ret: metrics__metrics__free_unpacked.
int metrics_read(const uint8_t *data, size_t len, Metrics__Metrics **ret, struct err *e);

// One line {"type":"stats","id":ID,"data":{...}} without its end, with runc's names. *ret_line is the caller's.
int metrics_stats_line(const char *id, const Metrics__Metrics *m, char **ret_line, size_t *ret_len,
		       struct err *e);

#endif
