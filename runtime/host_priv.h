// SPDX-License-Identifier: Apache-2.0
// Names shared by host_config.c, which reads them, and host_allow.c, which says them.
#ifndef RUNTIME_HOST_PRIV_H
#define RUNTIME_HOST_PRIV_H

#include "runtime/host_config.h"

extern const char *const host_vm_name[];         // by enum host_vm; NULL ends it
extern const char *const host_annotation_name[]; // by enum host_annotation; NULL ends it

#endif
