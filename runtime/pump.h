// SPDX-License-Identifier: Apache-2.0
// Copies one direction between two descriptors on the event loop, with one buffer: what is not written is not read.
#ifndef RUNTIME_PUMP_H
#define RUNTIME_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct loop;
struct loop_source;

enum { PUMP_BYTES = 65536 };

struct pump {
	struct loop *loop;
	const char *name;
	int from, to;              // borrowed
	void (*on_end)(void *arg); // once: end of input with all written, or either side is gone
	void *arg;
	struct loop_source *src;
	bool done;
	size_t at, len; // what waits in buf
	uint8_t buf[PUMP_BYTES];
};

// p is zeroed memory that stays in place until pump_done.
int pump_init(struct pump *p, struct loop *l, const char *name, int from, int to,
	      void (*on_end)(void *arg), void *arg, struct err *e);
void pump_done(struct pump *p);
bool pump_holds(const struct pump *p); // bytes that `to` has not taken

#endif
