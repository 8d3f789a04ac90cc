// SPDX-License-Identifier: Apache-2.0
// linux.seccomp by libseccomp: the filter of the container's process, as the program that the kernel takes. What a process
// of this kernel can never be (an architecture of another byte order, or one that the library does not know) needs no rule.
#include "agent/agent.h"

#include <ctype.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

// needs CONFIG_SECCOMP_FILTER

static uint32_t action(enum oci_scmp_action a, const struct oci_opt_u32 *code)
{
	uint32_t value = code->set ? code->v & 0xffff : EPERM;

	switch (a) {
	case OCI_SCMP_KILL_PROCESS:
		return SCMP_ACT_KILL_PROCESS;
	case OCI_SCMP_TRAP:
		return SCMP_ACT_TRAP;
	case OCI_SCMP_ERRNO:
		return SCMP_ACT_ERRNO(value);
	case OCI_SCMP_TRACE:
		return SCMP_ACT_TRACE(value);
	case OCI_SCMP_ALLOW:
		return SCMP_ACT_ALLOW;
	case OCI_SCMP_LOG:
		return SCMP_ACT_LOG;
	default:
		return SCMP_ACT_KILL_THREAD; // NOTIFY is refused at create
	}
}

static enum scmp_compare compare(enum oci_scmp_op op)
{
	static const enum scmp_compare ops[] = { SCMP_CMP_NE,       SCMP_CMP_LT, SCMP_CMP_LE,
						 SCMP_CMP_EQ,       SCMP_CMP_GE, SCMP_CMP_GT,
						 SCMP_CMP_MASKED_EQ };

	return ops[op];
}

static int add_one(scmp_filter_ctx f, uint32_t act, int nr, unsigned n,
		   const struct scmp_arg_cmp *cmp, struct err *e)
{
	int r = seccomp_rule_add_array(f, act, nr, n, cmp);

	return r < 0 && r != -EEXIST ? err_errno(e, -r, "linux.seccomp: rule") : 0;
}

// Tests of different arguments go together; two tests of one argument make each test of the rule enough, as in runc.
static int add(scmp_filter_ctx f, uint32_t act, int nr, const struct oci_scmp_rule *rule,
	       struct err *e)
{
	struct scmp_arg_cmp cmp[6];
	bool together = rule->n_args <= 6;
	unsigned used = 0;
	int r = 0;

	for (size_t i = 0; i < rule->n_args; i++) {
		together = together && !(used >> rule->args[i].index & 1);
		used |= 1u << rule->args[i].index;
	}
	for (size_t i = 0; r == 0 && i < rule->n_args; i++) {
		const struct oci_scmp_arg *a = &rule->args[i];
		struct scmp_arg_cmp c = { a->index, compare(a->op), a->value, a->value_two };

		if (together)
			cmp[i] = c;
		else
			r = add_one(f, act, nr, 1, &c, e);
	}
	return together ? add_one(f, act, nr, (unsigned)rule->n_args, cmp, e) : r;
}

static int rules(scmp_filter_ctx f, const struct oci_seccomp *s, struct err *e)
{
	uint32_t by_default = action(s->default_action, &s->default_errno_ret);
	int r = 0;

	for (size_t i = 0; i < s->n_rules; i++) {
		uint32_t act = action(s->rules[i].action, &s->rules[i].errno_ret);

		if (act == by_default)
			continue; // libseccomp refuses what changes nothing
		for (size_t j = 0; r == 0 && j < s->rules[i].names.n; j++) {
			int nr = seccomp_syscall_resolve_name(s->rules[i].names.v[j]);

			if (nr !=
			    __NR_SCMP_ERROR) // a name that this library does not know is no call of this kernel
				r = add(f, act, nr, &s->rules[i], e);
		}
	}
	return r;
}

// 0: not one of this library.
static uint32_t architecture(const char *scmp_name)
{
	char name[32] = { 0 };

	// "SCMP_ARCH_X86_64" is "x86_64" to the library.
	for (size_t j = 0; scmp_name[10 + j] && j + 1 < sizeof(name); j++)
		name[j] = (char)tolower((unsigned char)scmp_name[10 + j]);
	return seccomp_arch_resolve_name(name);
}

static int architectures(scmp_filter_ctx f, const struct oci_seccomp *s, struct err *e)
{
	for (size_t i = 0; i < s->architectures.n; i++) {
		uint32_t arch = architecture(s->architectures.v[i]);
		int r = arch ? seccomp_arch_add(f, arch) : 0;

		if (r < 0 && r != -EEXIST && r != -EDOM) // EDOM: of the other byte order
			return err_errno(e, -r, "linux.seccomp.architectures: %s",
					 s->architectures.v[i]);
	}
	return 0;
}

// ---- calls that are newer than the profile
// A C library that tries a new call expects ENOSYS from a kernel that has it not, and not the profile's EPERM: so that is
// the answer for numbers above all that the profile names, unless it allows by default.
enum { NEW_CALLS_INSNS = 6, X32_BIT = 0x40000000 };

static long last_call(const struct oci_seccomp *s, uint32_t arch)
{
	long last = -1;

	for (size_t i = 0; i < s->n_rules; i++)
		for (size_t j = 0; j < s->rules[i].names.n; j++) {
			int nr = seccomp_syscall_resolve_name_arch(arch, s->rules[i].names.v[j]);

			last = nr > last ? nr : last;
		}
	return last;
}

static void new_calls(struct sock_filter *to, uint32_t token, long last, uint32_t below)
{
	const struct sock_filter insns[NEW_CALLS_INSNS] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, token, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)last, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, below, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	};

	memcpy(to, insns, sizeof(insns));
}

static unsigned all_new_calls(scmp_filter_ctx f, const struct oci_seccomp *s,
			      struct sock_filter *to)
{
	static const uint32_t arches[] = { SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32 };
	unsigned n = 0;

	if (s->default_action == OCI_SCMP_ALLOW || s->default_action == OCI_SCMP_LOG)
		return 0;
	to[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					       offsetof(struct seccomp_data, arch));
	for (unsigned i = 0; i < sizeof(arches) / sizeof(*arches); i++) {
		long last = seccomp_arch_exist(f, arches[i]) == 0 ? last_call(s, arches[i]) : -1;

		if (last < 0)
			continue;
		// x32 is x86-64 with a bit in its numbers.
		new_calls(to + n, arches[i] == SCMP_ARCH_X86 ? AUDIT_ARCH_I386 : AUDIT_ARCH_X86_64,
			  last, arches[i] == SCMP_ARCH_X86_64 ? X32_BIT : UINT32_MAX);
		n += NEW_CALLS_INSNS;
	}
	return n > 1 ? n : 0;
}

// ---- the program
static int export(scmp_filter_ctx f, const struct oci_seccomp *s, struct child_filter *ret,
		  struct err *e)
{
	int fd AUTO_CLOSE = memfd_create("seccomp", MFD_CLOEXEC);
	struct sock_filter *insns AUTO_FREE = calloc(BPF_MAXINSNS, sizeof(*insns));
	unsigned n;
	ssize_t len;
	int r;

	if (fd < 0 || !insns)
		return err_errno(e, insns ? errno : ENOMEM, "linux.seccomp");
	r = seccomp_export_bpf(f, fd);
	if (r < 0)
		return err_errno(e, -r, "linux.seccomp: making the filter");
	n = all_new_calls(f, s, insns);
	len = lseek(fd, 0, SEEK_END);
	if (len < 0 || n + (size_t)len / sizeof(*insns) > BPF_MAXINSNS)
		return err_set(e, E2BIG, "linux.seccomp: a filter of more than %d instructions",
			       BPF_MAXINSNS);
	if (pread(fd, insns + n, (size_t)len, 0) != len)
		return err_set(e, EIO, "linux.seccomp: reading the filter");
	ret->n = n + (unsigned)((size_t)len / sizeof(*insns));
	ret->insns = take_ptr(&insns);
	return 0;
}

int child_filter_make(const struct oci_seccomp *s, struct child_filter *ret, struct err *e)
{
	static const unsigned flags[][2] = {
		{ OCI_SCMP_FLAG_TSYNC, SECCOMP_FILTER_FLAG_TSYNC },
		{ OCI_SCMP_FLAG_LOG, SECCOMP_FILTER_FLAG_LOG },
		{ OCI_SCMP_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	};
	scmp_filter_ctx f;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!s)
		return 0;
	f = seccomp_init(action(s->default_action, &s->default_errno_ret));
	if (!f)
		return err_set(e, ENOMEM, "linux.seccomp");
	r = architectures(f, s, e);
	r = r < 0 ? r : rules(f, s, e);
	r = r < 0 ? r : export(f, s, ret, e);
	seccomp_release(f);
	for (unsigned i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		ret->flags |= s->flags & flags[i][0] ? flags[i][1] : 0;
	return r;
}

int child_filter_load(const struct child_filter *f, struct err *e)
{
	struct sock_fprog prog = { (unsigned short)f->n, f->insns };

	return f->n && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, f->flags, &prog) < 0
		       ? err_errno(e, errno, "linux.seccomp: loading the filter")
		       : 0;
}
