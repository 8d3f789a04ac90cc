// SPDX-License-Identifier: Apache-2.0
// libmshv-preload.so: the software partition behind open("/dev/mshv") of any dynamically linked program.
#ifndef VMM_PRELOAD_PRELOAD_H
#define VMM_PRELOAD_PRELOAD_H

#include <stdbool.h>

// What the C library (or the next library before it) has under this name.
void *preload_next(const char *name);

// ---- signals.c
// Which of the partition's calls this thread is in. A handler of the program runs after such a call, as it does with a system
// call, and RUN_VP ends with EINTR for it.
enum preload_call { PRELOAD_NONE, PRELOAD_SHORT, PRELOAD_RUN };
enum preload_call preload_enter(enum preload_call call); // returns what preload_leave takes
void preload_leave(enum preload_call before);
bool preload_inside(void);

// ---- trace.c: what a program asks of the device, one line a call, to the file named by BULKHEAD_MSHV_TRACE.
bool trace_enabled(void);
void trace_call(const char *what, int fd, long result);
void trace_ioctl(int fd, unsigned long request, const void *arg, int result);

#endif
