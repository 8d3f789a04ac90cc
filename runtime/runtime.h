// SPDX-License-Identifier: Apache-2.0
// What other programs of the host than `bulkhead` need to know of it.
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

struct err;

enum { RUNTIME_PATH_BYTES = 4096 };

// Where a program of ours is: beside the running one, or in libexec.
int runtime_locate(const char *name, char buf[RUNTIME_PATH_BYTES], struct err *e);
// A connection to the supervisor of the container's pod, for ttrpc. root: the state directory.
int runtime_connect(const char *root, const char *id, struct err *e);

#endif
