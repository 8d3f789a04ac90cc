// SPDX-License-Identifier: Apache-2.0
// How large a guest is: RAM from a container's memory limit, processors from its quota. Numbers in, numbers out; where
// they come from is measured, see docs/sizing.md.
#ifndef RUNTIME_SIZING_H
#define RUNTIME_SIZING_H

#include <stdbool.h>
#include <stdint.h>

#define SIZING_MEMORY_MIN (48ull << 20)     // kernel, agent and a shell; less does not boot
#define SIZING_MEMORY_LIMITED (64ull << 20) // at least, for a container with a limit, however small
#define SIZING_MEMORY_DEFAULT (128ull << 20)
#define SIZING_MEMORY_MAX (1ull << 40)

// What the guest's kernel tells as MemTotal when it has this RAM.
uint64_t sizing_total(uint64_t ram_bytes, unsigned vcpus);
// The RAM for a guest whose MemTotal is a little above limit_bytes: by 1 %, and never by 2. At least SIZING_MEMORY_LIMITED
// and at most SIZING_MEMORY_MAX.
uint64_t sizing_ram(uint64_t limit_bytes, unsigned vcpus);
// Processors that a quota in a period needs, at least 1 and at most max. period 0: the kernel's default.
unsigned sizing_vcpus(int64_t quota_us, uint64_t period_us, unsigned max);

// "512Mi", "2G", "1073741824": units of 1024, with or without i and B. False for anything else, and for too much.
bool sizing_parse_bytes(const char *text, uint64_t *ret);
bool sizing_is_hypervisor(const char *name); // one that --hypervisor knows

#endif
