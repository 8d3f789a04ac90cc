// SPDX-License-Identifier: Apache-2.0
// What a group has used, as metrics.Metrics.
#ifndef AGENT_STATS_H
#define AGENT_STATS_H

#include <stddef.h>
#include <stdint.h>

struct err;

// Reads the files of the group, and the interfaces of /proc/net/dev (net_dev; NULL: none). What the kernel does not have
// stays 0 or absent. *ret is the packed message, the caller's.
int stats_read(int group, const char *net_dev, uint8_t **ret, size_t *ret_len, struct err *e);

#endif
