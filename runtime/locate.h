// SPDX-License-Identifier: Apache-2.0
// Where the other programs, the guest kernel and its initramfs are.
#ifndef RUNTIME_LOCATE_H
#define RUNTIME_LOCATE_H

#include <stddef.h>

struct err;

enum { LOCATE_BYTES = 4096 };

// A program of ours: beside the running one, or in ../libexec/bulkhead. buf: LOCATE_BYTES.
int locate_program(const char *name, char *buf, struct err *e);
// A data file ("vmlinux", "initrd.cpio"). given (an option, or NULL) and then the environment variable env win; else
// ../share/bulkhead beside the program, /usr/share/bulkhead, ~/.cache/bulkhead. The error names what was looked at.
int locate_data(const char *name, const char *given, const char *env, char *buf, struct err *e);
// Opens a kernel and looks whether it is an ELF file for this machine. The descriptor is the caller's.
int locate_open_kernel(const char *path, struct err *e);

#endif
