// SPDX-License-Identifier: Apache-2.0
// config.json: linux.seccomp.
#include "oci/seccomp.h"

#include <string.h>

#include "base/err.h"
#include "oci/tree.h"

static const char *const action_name[] = { "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS",
					   "SCMP_ACT_TRAP",        "SCMP_ACT_ERRNO",
					   "SCMP_ACT_TRACE",       "SCMP_ACT_ALLOW",
					   "SCMP_ACT_LOG",         "SCMP_ACT_NOTIFY",
					   "SCMP_ACT_KILL",        NULL };
static const char *const op_name[] = { "SCMP_CMP_NE",        "SCMP_CMP_LT", "SCMP_CMP_LE",
				       "SCMP_CMP_EQ",        "SCMP_CMP_GE", "SCMP_CMP_GT",
				       "SCMP_CMP_MASKED_EQ", NULL };
static const char *const flag_name[] = { "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
					 "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
					 "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL };
static const char *const arch_name[] = {
	"SCMP_ARCH_X86",     "SCMP_ARCH_X86_64",   "SCMP_ARCH_X32",         "SCMP_ARCH_ARM",
	"SCMP_ARCH_AARCH64", "SCMP_ARCH_MIPS",     "SCMP_ARCH_MIPS64",      "SCMP_ARCH_MIPS64N32",
	"SCMP_ARCH_MIPSEL",  "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC",
	"SCMP_ARCH_PPC64",   "SCMP_ARCH_PPC64LE",  "SCMP_ARCH_S390",        "SCMP_ARCH_S390X",
	"SCMP_ARCH_PARISC",  "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64",     "SCMP_ARCH_LOONGARCH64",
	"SCMP_ARCH_M68K",    "SCMP_ARCH_SH",       "SCMP_ARCH_SHEB",        NULL
};

static int read_action(const struct json_at *obj, const char *key, enum oci_scmp_action *ret,
		       struct err *e)
{
	struct json_at at;
	unsigned v = 0;
	int r;

	if (!json_member(obj, key, &at))
		return json_err(&at, e, "required, but absent");
	r = oci_read_enum(&at, action_name, &v, e);
	if (r == 0) // the last name is the old one of the first
		*ret = action_name[v + 1] ? (enum oci_scmp_action)v : OCI_SCMP_KILL_THREAD;
	return r;
}

static int parse_arg(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e)
{
	struct oci_scmp_arg *a = elem;
	struct oci_opt_u64 value = { 0 }, two = { 0 };
	struct json_at sub;
	uint32_t index;
	unsigned op = 0;
	int r;

	(void)t;
	if ((r = oci_need_u32(at, "index", &index, e)) < 0)
		return r;
	(void)json_member(at, "index", &sub); // it is there
	if (index > 5)
		return json_err(&sub, e, "%u is out of range (at most 5)", index);
	if (!json_member(at, "op", &sub))
		return json_err(&sub, e, "required, but absent");
	if ((r = oci_read_enum(&sub, op_name, &op, e)) < 0 ||
	    (r = oci_read_u64(at, "value", &value, e)) < 0 ||
	    (r = oci_read_u64(at, "valueTwo", &two, e)) < 0)
		return r;
	*a = (struct oci_scmp_arg){
		.index = index, .value = value.v, .value_two = two.v, .op = (enum oci_scmp_op)op
	};
	return 0;
}

static int parse_rule(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e)
{
	struct oci_scmp_rule *rule = elem;
	struct json_at sub;
	int r;

	if ((r = oci_read_strv(t, at, "names", &rule->names, e)) < 0)
		return r;
	(void)json_member(at, "names", &sub); // for its path
	if (rule->names.n == 0)
		return json_err(&sub, e, "must not be empty");
	if ((r = read_action(at, "action", &rule->action, e)) < 0 ||
	    (r = oci_read_u32(at, "errnoRet", &rule->errno_ret, e)) < 0)
		return r;
	return oci_read_list(t, at, "args", 64, sizeof(*rule->args), parse_arg, &rule->args,
			     &rule->n_args, e);
}

static int read_names(struct oci_tree *t, const struct json_at *obj, const char *key,
		      const char *const *known, struct oci_strv *ret, unsigned *ret_bits,
		      struct err *e)
{
	struct json_at list;
	int r = oci_read_strv(t, obj, key, ret, e);

	(void)json_member(obj, key, &list); // for its path
	for (size_t i = 0; r == 0 && i < ret->n; i++) {
		struct json_at item = json_item(&list, i);
		unsigned v = 0;

		r = oci_read_enum(&item, known, &v, e);
		if (r == 0 && ret_bits)
			*ret_bits |= 1u << v;
	}
	return r;
}

int oci_parse_seccomp(struct oci_tree *t, const struct json_at *at, struct oci_seccomp **ret,
		      struct err *e)
{
	struct oci_seccomp *s;
	struct oci_strv flags;
	int r = json_is_object(at, e);

	if (r < 0)
		return r;
	s = oci_tree_alloc(t, 1, sizeof(*s));
	if (!s)
		return json_err(at, e, "out of memory");
	if ((r = read_action(at, "defaultAction", &s->default_action, e)) < 0 ||
	    (r = oci_read_u32(at, "defaultErrnoRet", &s->default_errno_ret, e)) < 0 ||
	    (r = read_names(t, at, "architectures", arch_name, &s->architectures, NULL, e)) < 0 ||
	    (r = read_names(t, at, "flags", flag_name, &flags, &s->flags, e)) < 0 ||
	    (r = oci_read_text(at, "listenerPath", &s->listener_path, e)) < 0 ||
	    (r = oci_read_text(at, "listenerMetadata", &s->listener_metadata, e)) < 0 ||
	    (r = oci_read_list(t, at, "syscalls", 4096, sizeof(*s->rules), parse_rule, &s->rules,
			       &s->n_rules, e)) < 0)
		return r;
	*ret = s;
	return 0;
}
