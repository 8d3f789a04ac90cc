// SPDX-License-Identifier: Apache-2.0
// linux.seccomp by libseccomp: the filter of the container's process.
#include "agent/agent.h"

#include <ctype.h>
#include <errno.h>
#include <seccomp.h>
#include <string.h>

#include "base/err.h"
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

static int add(scmp_filter_ctx f, uint32_t act, int nr, const struct oci_scmp_rule *r,
	       struct err *e)
{
	struct scmp_arg_cmp cmp[6];
	unsigned used = 0, n = 0;
	int rc = 0;

	for (size_t i = 0; i < r->n_args; i++) {
		const struct oci_scmp_arg *a = &r->args[i];
		struct scmp_arg_cmp c = { a->index, compare(a->op), a->value, a->value_two };

		if (used >> a->index & 1 ||
		    n == 6) { // two tests of one argument: either is enough, as in runc
			rc = seccomp_rule_add_array(f, act, nr, 1, &c);
			if (rc < 0 && rc != -EEXIST)
				return err_errno(e, -rc, "linux.seccomp: rule");
			continue;
		}
		used |= 1u << a->index;
		cmp[n++] = c;
	}
	rc = seccomp_rule_add_array(f, act, nr, n, cmp);
	return rc < 0 && rc != -EEXIST ? err_errno(e, -rc, "linux.seccomp: rule") : 0;
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

static int architectures(scmp_filter_ctx f, const struct oci_seccomp *s, struct err *e)
{
	for (size_t i = 0; i < s->architectures.n; i++) {
		char name[32] = { 0 };
		uint32_t arch;
		int r;

		// "SCMP_ARCH_X86_64" is "x86_64" to the library.
		for (size_t j = 0; s->architectures.v[i][10 + j] && j + 1 < sizeof(name); j++)
			name[j] = (char)tolower((unsigned char)s->architectures.v[i][10 + j]);
		arch = seccomp_arch_resolve_name(name);
		r = arch ? seccomp_arch_add(f, arch) : -EINVAL;
		if (r < 0 && r != -EEXIST)
			return err_errno(e, -r, "linux.seccomp.architectures: %s",
					 s->architectures.v[i]);
	}
	return 0;
}

int child_seccomp(const struct oci_seccomp *s, struct err *e)
{
	scmp_filter_ctx f;
	int r;

	if (!s)
		return 0;
	f = seccomp_init(action(s->default_action, &s->default_errno_ret));
	if (!f)
		return err_set(e, ENOMEM, "linux.seccomp");
	// no_new_privs is the config's to say.
	r = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0);
	if (r == 0 && (s->flags & OCI_SCMP_FLAG_TSYNC))
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r == 0 && (s->flags & OCI_SCMP_FLAG_LOG))
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1);
	if (r == 0 && (s->flags & OCI_SCMP_FLAG_SPEC_ALLOW))
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_SSB, 1);
	r = r < 0 ? err_errno(e, -r, "linux.seccomp.flags") : architectures(f, s, e);
	r = r < 0 ? r : rules(f, s, e);
	if (r == 0) {
		r = seccomp_load(f);
		if (r < 0)
			r = err_errno(e, -r, "linux.seccomp: loading the filter");
	}
	seccomp_release(f);
	return r;
}
