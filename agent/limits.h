// SPDX-License-Identifier: Apache-2.0
// linux.resources as what is written to the files of a cgroup v2 group. Pure but for limits_write.
#ifndef AGENT_LIMITS_H
#define AGENT_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct oci_resources;

enum { LIMITS_SET_MAX = 1024 };

// Processors or memory nodes, in order.
struct limits_set {
	uint16_t v[LIMITS_SET_MAX];
	unsigned n;
};
// Reads a list as the kernel prints it. What is no list is an empty set.
void limits_set_read(struct limits_set *s, const char *list);

// What the conversions have to know of the guest, and of the group as it is.
struct limits_now {
	struct limits_set cpus, mems;  // the guest's
	int64_t memory_max, cpu_quota; // -1: none
	uint64_t memory_current;
	bool has_swap, has_bfq; // memory.swap.max, io.bfq.weight are there
};
void limits_now_read(int group, struct limits_now *ret);

struct limit {
	char *file, *value; // owned; several lines of value are written one by one
	char *old;          // owned; what limits_write found there
	const char *field;  // of config.json
	bool done;
};
struct limits {
	struct limit *v;
	size_t n;
};
void limits_done(struct limits *l);

// What r asks for, in the order it is to be written. *ret is the caller's also after an error.
int limits_plan(const struct oci_resources *r, const struct limits_now *now, struct limits *ret,
		struct err *e);

// All or nothing: a file that is not there is an error before the first write, and a write that fails puts back what
// was there.
int limits_write(int group, struct limits *l, struct err *e);
void limits_put_back(int group, struct limits *l); // undoes it

#endif
