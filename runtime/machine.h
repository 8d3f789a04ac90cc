// SPDX-License-Identifier: Apache-2.0
// The machine of a pod before there is one: which hypervisor, kernel and initramfs, how much memory, how many processors.
#ifndef RUNTIME_MACHINE_H
#define RUNTIME_MACHINE_H

#include <stdint.h>

#include "oci/oci.h"
#include "runtime/locate.h"

struct err;
struct host_config;

enum { MACHINE_PARAMETERS_BYTES = 1024, MACHINE_HYPERVISOR_BYTES = 8 };

struct machine {
	char hypervisor[MACHINE_HYPERVISOR_BYTES];       // auto, mshv, soft
	char vmm[LOCATE_BYTES];                          // "": ours
	char kernel[LOCATE_BYTES], initrd[LOCATE_BYTES]; // absolute
	char parameters[MACHINE_PARAMETERS_BYTES];       // of the kernel, after ours; "": none
	uint64_t memory_bytes;
	unsigned vcpus;
};

// As on the command line; NULL: not given.
struct machine_options {
	const char *hypervisor, *kernel, *initrd, *memory, *vcpus;
};

// For each of it the first that is given: the option, the annotation, the vm object, the resources, the default. What the
// bundle asks for has to be allowed. Every error names the option or the JSON path.
int machine_choose(const struct machine_options *opt, const struct oci_config *c,
		   const struct host_config *h, struct machine *ret, struct err *e);

#endif
