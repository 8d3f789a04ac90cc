// SPDX-License-Identifier: Apache-2.0
// The host's configuration: /etc/bulkhead/config.json and the files in /etc/bulkhead/config.json.d. Says what a pod gets by
// default, what it gets at most, and what a bundle may ask for. See docs/bulkhead.json.5.
#ifndef RUNTIME_HOST_CONFIG_H
#define RUNTIME_HOST_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct host_doc;

#define HOST_CONFIG_PATH "/etc/bulkhead/config.json"
#define HOST_CONFIG_ENV "BULKHEAD_CONFIG"

// Members of config.json's vm object, and annotations, that can be allowed.
enum host_vm {
	HOST_VM_HYPERVISOR_PATH,
	HOST_VM_KERNEL_PATH,
	HOST_VM_KERNEL_INITRD,
	HOST_VM_KERNEL_PARAMETERS,
	HOST_VM_VCPUS,
	HOST_VM_MEMORY,
};
enum host_annotation { HOST_ANNOTATION_VCPUS, HOST_ANNOTATION_MEMORY, HOST_ANNOTATION_HYPERVISOR };

struct host_list {
	const char **v;
	size_t n;
};

struct host_config {
	char *path; // of the file, whether it exists or not: for messages
	struct {
		const char *hypervisor, *kernel, *initrd; // NULL: not given
		uint64_t vcpus, memory;
	} defaults;
	struct {
		uint64_t vcpus, memory;
	} maxima;
	struct {
		uint64_t vm, annotations; // bit masks
		struct host_list hypervisor_paths, kernel_paths, initrd_paths, kernel_parameters;
	} allow;
	struct host_doc *docs; // private: what the strings are borrowed from
};

// given (an option, or NULL), then the environment, then HOST_CONFIG_PATH: only the last may be absent. The drop-ins beside
// it follow in the order of their names. What others than root and the caller can write is refused. *ret is the caller's.
int host_config_read(const char *given, struct host_config **ret, struct err *e);
void host_config_free(struct host_config *h);

// As host_config_read with the texts of the files; for tests.
int host_config_parse(const char *const *texts, size_t n, struct host_config **ret, struct err *e);

// Whether a bundle may use it; the error names the key that would allow it.
int host_allow_vm(const struct host_config *h, enum host_vm what, struct err *e);
int host_allow_annotation(const struct host_config *h, enum host_annotation what, struct err *e);
// The path with symbolic links resolved, if that is in the list of its kind. ret: PATH_MAX bytes. what is one of the three.
int host_allow_path(const struct host_config *h, enum host_vm what, const char *path, char *ret,
		    struct err *e);
// Whether a kernel parameter is one that a bundle may add: of harmless characters, none of ours, and in the list.
int host_allow_parameter(const struct host_config *h, const char *parameter, struct err *e);

#endif
