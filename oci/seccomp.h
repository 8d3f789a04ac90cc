// SPDX-License-Identifier: Apache-2.0
// linux.seccomp of config.json, names already turned into numbers of our own (not libseccomp's: oci/ links nothing).
#ifndef OCI_SECCOMP_H
#define OCI_SECCOMP_H

#include <stdint.h>

#include "oci/config.h"

enum oci_scmp_action {
	OCI_SCMP_KILL_THREAD, // SCMP_ACT_KILL is the same
	OCI_SCMP_KILL_PROCESS,
	OCI_SCMP_TRAP,
	OCI_SCMP_ERRNO,
	OCI_SCMP_TRACE,
	OCI_SCMP_ALLOW,
	OCI_SCMP_LOG,
	OCI_SCMP_NOTIFY,
};
enum oci_scmp_op {
	OCI_SCMP_NE,
	OCI_SCMP_LT,
	OCI_SCMP_LE,
	OCI_SCMP_EQ,
	OCI_SCMP_GE,
	OCI_SCMP_GT,
	OCI_SCMP_MASKED_EQ, // arg & value == value_two
};
struct oci_scmp_arg {
	unsigned index; // 0..5
	uint64_t value, value_two;
	enum oci_scmp_op op;
};
struct oci_scmp_rule {
	struct oci_strv names;
	enum oci_scmp_action action;
	struct oci_opt_u32 errno_ret;
	struct oci_scmp_arg *args;
	size_t n_args;
};
enum {
	OCI_SCMP_FLAG_TSYNC = 1,
	OCI_SCMP_FLAG_LOG = 2,
	OCI_SCMP_FLAG_SPEC_ALLOW = 4,
	OCI_SCMP_FLAG_WAIT_KILLABLE_RECV = 8,
};
struct oci_seccomp {
	enum oci_scmp_action default_action;
	struct oci_opt_u32 default_errno_ret;
	struct oci_strv architectures; // "SCMP_ARCH_X86_64", ...: checked names
	unsigned flags;
	const char *listener_path, *listener_metadata; // NULL when absent
	struct oci_scmp_rule *rules;
	size_t n_rules;
};

#endif
