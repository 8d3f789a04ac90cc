// SPDX-License-Identifier: Apache-2.0
// config.json as structs. Strings and arrays belong to the struct oci_config and live until oci_config_free.
#ifndef OCI_CONFIG_H
#define OCI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct oci_seccomp;
struct oci_tree;

// Limits on what a config may hold; one more is an error that names the path and the limit.
enum {
	OCI_CONFIG_BYTES_MAX = 16 << 20,
	OCI_DEPTH_MAX = 64,
	OCI_LIST_MAX = 16384, // any array or map without a limit of its own
	OCI_MOUNTS_MAX = 8192,
	OCI_STRING_MAX = 1 << 20,
	OCI_PATH_MAX = 4095,
};

struct oci_strv {
	char **v; // NULL-terminated, fit for execve; NULL itself only where the parent object is absent
	size_t n;
};
struct oci_pair {
	const char *key, *value;
};
struct oci_map {
	struct oci_pair *v;
	size_t n;
};
struct oci_opt_i64 {
	bool set;
	int64_t v;
};
struct oci_opt_u64 {
	bool set;
	uint64_t v;
};
struct oci_opt_u32 {
	bool set;
	uint32_t v;
};

struct oci_id_map {
	uint32_t container_id, host_id, size;
};
struct oci_id_maps {
	struct oci_id_map *v;
	size_t n;
};

struct oci_mount {
	const char *destination;   // absolute, or relative to "/" (tolerated)
	const char *type, *source; // NULL when absent
	struct oci_strv options;
	bool bind, rbind; // options contain bind or rbind, or type is "bind"
	struct oci_id_maps uid_maps, gid_maps;
};
struct oci_rlimit {
	const char *type; // "RLIMIT_NOFILE"
	int resource;     // RLIMIT_*
	uint64_t soft, hard;
};
struct oci_capabilities {
	bool present;
	struct oci_strv bounding, effective, inheritable, permitted, ambient;
};

// Policies, classes and modes are the kernel's numbers.
struct oci_scheduler {
	bool set;
	unsigned policy; // SCHED_*
	int nice;        // -20..19
	uint32_t priority;
	uint64_t flags; // SCHED_FLAG_*
	uint64_t runtime, deadline, period;
};
struct oci_io_priority {
	bool set;
	unsigned io_class, priority; // IOPRIO_CLASS_*, 0..7
};
enum { OCI_NODES_MAX = 1024 };
struct oci_memory_policy {
	bool set;
	unsigned mode, flags; // MPOL_*, MPOL_F_*
	uint64_t nodes[OCI_NODES_MAX / 64];
};
enum oci_clock { OCI_CLOCK_MONOTONIC, OCI_CLOCK_BOOTTIME, OCI_CLOCKS };
extern const char *const oci_clock_name[OCI_CLOCKS];
struct oci_time_offset {
	bool set;
	int64_t secs;
	uint32_t nanosecs;
};

struct oci_process {
	bool terminal;
	struct {
		bool set;
		uint16_t height, width;
	} console_size;
	uint32_t uid, gid;
	struct oci_opt_u32 umask;
	uint32_t *additional_gids;
	size_t n_additional_gids;
	struct oci_strv args; // at least one
	struct oci_strv env;
	const char *cwd; // absolute
	struct oci_capabilities capabilities;
	struct oci_rlimit *rlimits; // no type twice
	size_t n_rlimits;
	bool no_new_privileges;
	struct oci_opt_i64 oom_score_adj;             // -1000..1000
	const char *apparmor_profile, *selinux_label; // NULL when absent or empty
	struct oci_scheduler scheduler;
	struct oci_io_priority io_priority;
	const char *affinity_initial,
		*affinity_final; // CPU lists of execCPUAffinity; NULL when absent
};

struct oci_hook {
	const char *path; // absolute
	struct oci_strv args, env;
	struct oci_opt_i64 timeout; // seconds, > 0
};
enum oci_hook_kind {
	OCI_HOOK_PRESTART,
	OCI_HOOK_CREATE_RUNTIME,
	OCI_HOOK_CREATE_CONTAINER,
	OCI_HOOK_START_CONTAINER,
	OCI_HOOK_POSTSTART,
	OCI_HOOK_POSTSTOP,
	OCI_HOOK_KINDS
};
struct oci_hooks {
	struct oci_hook *v;
	size_t n;
};

enum oci_ns {
	OCI_NS_PID,
	OCI_NS_NETWORK,
	OCI_NS_MOUNT,
	OCI_NS_IPC,
	OCI_NS_UTS,
	OCI_NS_USER,
	OCI_NS_CGROUP,
	OCI_NS_TIME,
	OCI_NS_KINDS
};
extern const char *const oci_ns_name[OCI_NS_KINDS]; // "pid", "network", ...

struct oci_device {
	const char *path;
	char type; // c, b or p ("u" is c)
	uint32_t major, minor;
	struct oci_opt_u32 file_mode, uid, gid;
};
struct oci_device_rule {
	bool allow;
	char type;            // a, b or c
	int64_t major, minor; // -1: any
	bool read, write, mknod;
};
struct oci_hugepage_limit {
	const char *page_size; // "2MB"
	uint64_t limit;
};
// blockIO: a weight, or a rate, of one device.
enum oci_blkio {
	OCI_BLKIO_WEIGHT,
	OCI_BLKIO_READ_BPS,
	OCI_BLKIO_WRITE_BPS,
	OCI_BLKIO_READ_IOPS,
	OCI_BLKIO_WRITE_IOPS,
	OCI_BLKIO_KINDS
};
extern const char *const oci_blkio_name[OCI_BLKIO_KINDS]; // "weightDevice", ...
struct oci_blkio_device {
	uint32_t major, minor;
	uint64_t value;
};
struct oci_rdma_limit {
	const char *device;
	struct oci_opt_u32 handles, objects;
};

struct oci_resources {
	struct oci_device_rule *devices;
	size_t n_devices;
	struct oci_opt_i64 memory_limit, memory_reservation, memory_swap;
	bool memory_check_before_update;
	struct oci_opt_u64 cpu_shares, cpu_period, cpu_burst;
	struct oci_opt_i64 cpu_quota, cpu_idle;
	bool has_cpu_realtime;
	const char *cpu_cpus,
		*cpu_mems; // lists as oci_list_next reads them; NULL when absent or empty
	struct oci_opt_i64 pids_limit;
	struct oci_opt_u32 blkio_weight; // 10..1000
	struct {
		struct oci_blkio_device *v;
		size_t n;
	} blkio_devices[OCI_BLKIO_KINDS];
	struct oci_hugepage_limit *hugepages;
	size_t n_hugepages;
	struct oci_rdma_limit *rdma;
	size_t n_rdma;
	struct oci_map unified; // file -> value; no '/' in a file name
};

struct oci_linux {
	struct {
		bool present;
		const char *path; // NULL: a new one
	} ns[OCI_NS_KINDS];
	struct oci_id_maps uid_maps, gid_maps;
	struct oci_device *devices;
	size_t n_devices;
	struct oci_resources resources;
	const char *cgroups_path; // NULL when absent
	struct oci_map sysctl;
	struct oci_strv masked_paths, readonly_paths;
	const char *rootfs_propagation, *mount_label; // NULL when absent or empty
	struct oci_seccomp *seccomp;                  // NULL when absent; see oci/seccomp.h
	struct oci_time_offset time_offset[OCI_CLOCKS];
	bool has_personality, linux32; // personality: LINUX, or LINUX32
	struct oci_memory_policy memory_policy;
	bool has_intel_rdt, has_net_devices; // with anything in them
};

struct oci_vm_hw {
	const char *key; // "hwConfig" or "hwconfig", as it is written
	struct oci_opt_u32 vcpus;
	struct oci_opt_u64 memory;             // bytes
	const char *device_tree;               // NULL when absent or empty
	bool has_dtdevs, has_iomems, has_irqs; // with anything in them
};
struct oci_vm {
	struct {
		const char *path; // absolute; NULL: no hypervisor object
		struct oci_strv parameters;
	} hypervisor;
	struct {
		const char *path;   // absolute; NULL: no kernel object
		const char *initrd; // absolute; NULL when absent or empty
		struct oci_strv parameters;
	} kernel;
	struct {
		const char *path, *format; // NULL: no image object
	} image;
	struct oci_vm_hw hw;
};

struct oci_config {
	const char *oci_version;
	bool has_process;
	struct oci_process process;
	struct {
		bool present, readonly;
		const char *path;
	} root;
	const char *hostname, *domainname; // NULL when absent or empty
	struct oci_mount *mounts;
	size_t n_mounts;
	struct oci_hooks hooks[OCI_HOOK_KINDS];
	struct oci_map annotations;
	bool has_linux;
	struct oci_linux lin; // "linux" is a predefined macro
	bool has_vm;
	struct oci_vm vm;
	struct oci_tree *tree; // private
};

// Parses and validates; unknown properties are ignored, unknown values of enumerations are errors. json need not be
// NUL-terminated and may be freed afterwards. Every error names the JSON path ("process.user.uid: expected an unsigned
// integer"). Returns 0 or -EINVAL, -ENOMEM, -EFBIG; *ret_config is the caller's.
int oci_config_parse(const char *json, size_t len, struct oci_config **ret_config, struct err *e);
void oci_config_free(struct oci_config *c);
// As oci_config_parse, for a process object alone: nothing but `process` is filled.
int oci_process_parse(const char *json, size_t len, struct oci_config **ret_config, struct err *e);

// The JSON text again, all properties (also unknown ones) kept, with some strings replaced.
struct oci_rewrite_mount {
	const char *source; // NULL: as it is
	bool shm;           // a host's shared memory: becomes a tmpfs of the guest
};
struct oci_rewrite {
	const char *root_path;                  // NULL: as it is
	const struct oci_rewrite_mount *mounts; // as many as the config has, or NULL
};
int oci_config_rewrite(const struct oci_config *c, const struct oci_rewrite *rw, char **ret_json,
		       size_t *ret_len, struct err *e);

// "0-3,7" as bits, the lowest first; -EINVAL for anything else, and for a number that bits has no room for.
int oci_list_bits(const char *list, uint64_t *bits, size_t n_words);

// A process object with some members changed, for one more process like a container's own.
struct oci_words {
	const char *const *v; // borrowed
	size_t n;
};
struct oci_process_change {
	struct oci_words args;       // none: as it is
	struct oci_words env;        // "NAME=VALUE": added, or in place of what has that NAME
	struct oci_words caps;       // added to bounding, effective and permitted
	const char *cwd;             // NULL: as it is
	struct oci_opt_u32 uid, gid; // of the user
	const uint32_t *gids;        // added to the additional ones
	size_t n_gids;
	bool no_new_privileges; // true, or as it is
	bool set_terminal, terminal;
	uint16_t height, width; // of the terminal; 0: as it is
};
// c is a parsed config, or a parsed process object alone. What is made is not validated again.
int oci_process_rewrite(const struct oci_config *c, const struct oci_process_change *ch,
			char **ret_json, size_t *ret_len, struct err *e);

enum { OCI_ID_MAPS_BYTES = 4096 }; // the kernel takes less than a page
// "CONTAINER HOST SIZE" lines; -E2BIG when they are too many.
int oci_id_maps_text(const struct oci_id_maps *m, char ret[OCI_ID_MAPS_BYTES]);
// The host's id of a container's; -ENOENT when it has none.
int oci_id_maps_host(const struct oci_id_maps *m, uint32_t id, uint32_t *ret);

const char *oci_map_get(const struct oci_map *m, const char *key); // NULL when absent

#endif
