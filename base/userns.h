// SPDX-License-Identifier: Apache-2.0
// A user namespace that nobody is in: the ids of an id-mapped mount.
#ifndef BASE_USERNS_H
#define BASE_USERNS_H

#include <sys/types.h>

struct err;

// Maps are as the kernel reads them: lines "INSIDE OUTSIDE COUNT"; to write them takes CAP_SETUID and CAP_SETGID. proc is
// a directory of the proc file system in which the caller's children have the pids it knows them by.

// Returns a descriptor of the caller's.
int userns_new(int proc, const char *uid_map, const char *gid_map, struct err *e);
// The maps of a process that is in a new user namespace.
int userns_map(int proc, pid_t pid, const char *uid_map, const char *gid_map, struct err *e);

#endif
