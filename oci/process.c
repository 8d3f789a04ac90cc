// SPDX-License-Identifier: Apache-2.0
// config.json: the process.
#include <string.h>
#include <sys/resource.h>

#include "base/err.h"
#include "oci/tree.h"

static const char *const rlimit_name[] = {
	"RLIMIT_CPU",
	"RLIMIT_FSIZE",
	"RLIMIT_DATA",
	"RLIMIT_STACK",
	"RLIMIT_CORE",
	"RLIMIT_RSS",
	"RLIMIT_NPROC",
	"RLIMIT_NOFILE",
	"RLIMIT_MEMLOCK",
	"RLIMIT_AS",
	"RLIMIT_LOCKS",
	"RLIMIT_SIGPENDING",
	"RLIMIT_MSGQUEUE",
	"RLIMIT_NICE",
	"RLIMIT_RTPRIO",
	"RLIMIT_RTTIME",
	NULL,
};
// The kernel's numbers are the table's indexes on x86-64 and arm64; two are spelled out to notice if not.
_Static_assert(RLIMIT_NOFILE == 7 && RLIMIT_RTTIME == 15, "rlimit_name is in the kernel's order");

static int parse_rlimit(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e)
{
	struct oci_rlimit *l = elem;
	struct oci_opt_u64 soft = { 0 }, hard = { 0 };
	struct json_at type;
	unsigned number;
	int r;

	(void)t;
	if (!json_member(at, "type", &type))
		return json_err(&type, e, "required, but absent");
	if ((r = oci_read_enum(&type, rlimit_name, &number, e)) < 0 ||
	    (r = oci_read_u64(at, "soft", &soft, e)) < 0 ||
	    (r = oci_read_u64(at, "hard", &hard, e)) < 0)
		return r;
	if (!soft.set || !hard.set)
		return json_err(at, e, "soft and hard are required");
	if (soft.v > hard.v)
		return json_err(at, e, "soft is above hard");
	*l = (struct oci_rlimit){
		.type = rlimit_name[number], .resource = (int)number, .soft = soft.v, .hard = hard.v
	};
	return 0;
}

static int check_rlimits_once(const struct json_at *at, const struct oci_process *p, struct err *e)
{
	struct json_at list, item;

	for (size_t i = 0; i < p->n_rlimits; i++) {
		for (size_t j = 0; j < i; j++) {
			if (p->rlimits[i].resource != p->rlimits[j].resource)
				continue;
			(void)json_member(at, "rlimits", &list); // it is there
			item = json_item(&list, i);
			return json_err(&item, e, "duplicate %s", p->rlimits[i].type);
		}
	}
	return 0;
}

static int parse_user(struct oci_tree *t, const struct json_at *at, struct oci_process *p,
		      struct err *e)
{
	struct oci_opt_u32 uid = { 0 }, gid = { 0 };
	struct json_at gids, umask;
	size_t n;
	int r;

	if ((r = json_is_object(at, e)) < 0 || (r = oci_read_u32(at, "uid", &uid, e)) < 0 ||
	    (r = oci_read_u32(at, "gid", &gid, e)) < 0 ||
	    (r = oci_read_u32(at, "umask", &p->umask, e)) < 0)
		return r;
	p->uid = uid.v;
	p->gid = gid.v;
	if (p->umask.set && p->umask.v > 0777) {
		(void)json_member(at, "umask", &umask); // it is there
		return json_err(&umask, e, "%u is out of range (at most 511, which is 0777)",
				p->umask.v);
	}
	if (!json_member(at, "additionalGids", &gids))
		return 0;
	if ((r = json_is_array(&gids, 65536, &n, e)) < 0 || n == 0) // the kernel's NGROUPS_MAX
		return r;
	p->additional_gids = oci_tree_alloc(t, n, sizeof(*p->additional_gids));
	if (!p->additional_gids)
		return json_err(&gids, e, "out of memory");
	for (size_t i = 0; i < n; i++) {
		struct json_at item = json_item(&gids, i);
		uint64_t v;

		if ((r = json_u64(&item, UINT32_MAX, &v, e)) < 0)
			return r;
		p->additional_gids[i] = (uint32_t)v;
	}
	p->n_additional_gids = n;
	return 0;
}

static int parse_capabilities(struct oci_tree *t, const struct json_at *at,
			      struct oci_capabilities *c, struct err *e)
{
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_strv(t, at, "bounding", &c->bounding, e)) < 0 ||
	    (r = oci_read_strv(t, at, "effective", &c->effective, e)) < 0 ||
	    (r = oci_read_strv(t, at, "inheritable", &c->inheritable, e)) < 0 ||
	    (r = oci_read_strv(t, at, "permitted", &c->permitted, e)) < 0 ||
	    (r = oci_read_strv(t, at, "ambient", &c->ambient, e)) < 0)
		return r;
	c->present = true;
	return 0;
}

static int parse_console_size(const struct json_at *at, struct oci_process *p, struct err *e)
{
	uint32_t height, width;
	int r;

	if ((r = json_is_object(at, e)) < 0 || (r = oci_need_u32(at, "height", &height, e)) < 0 ||
	    (r = oci_need_u32(at, "width", &width, e)) < 0)
		return r;
	if (height > UINT16_MAX || width > UINT16_MAX)
		return json_err(at, e, "out of range (at most 65535)");
	p->console_size.set = true;
	p->console_size.height = (uint16_t)height;
	p->console_size.width = (uint16_t)width;
	return 0;
}

static int parse_args(struct oci_tree *t, const struct json_at *at, struct oci_process *p,
		      struct err *e)
{
	struct json_at args, args0;
	int r = oci_read_strv(t, at, "args", &p->args, e);

	if (r < 0)
		return r;
	(void)json_member(at, "args", &args); // for its path
	if (p->args.n == 0)
		return json_err(&args, e, "must not be empty");
	args0 = json_item(&args, 0);
	if (p->args.v[0][0] == '\0')
		return json_err(&args0, e, "must not be empty");
	return 0;
}

static int parse_running(struct oci_tree *t, const struct json_at *at, struct oci_process *p,
			 struct err *e)
{
	struct json_at sub;
	int r = 0;

	if (json_member(at, "scheduler", &sub))
		r = oci_parse_scheduler(t, &sub, &p->scheduler, e);
	if (r == 0 && json_member(at, "ioPriority", &sub))
		r = oci_parse_io_priority(&sub, &p->io_priority, e);
	if (r == 0 && json_member(at, "execCPUAffinity", &sub))
		r = oci_parse_affinity(&sub, p, e);
	return r;
}

int oci_parse_process(struct oci_tree *t, const struct json_at *at, struct oci_process *p,
		      struct err *e)
{
	struct json_at sub;
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_bool(at, "terminal", &p->terminal, e)) < 0)
		return r;
	if (json_member(at, "consoleSize", &sub) && (r = parse_console_size(&sub, p, e)) < 0)
		return r;
	if (json_member(at, "user", &sub) && (r = parse_user(t, &sub, p, e)) < 0)
		return r;
	if ((r = parse_args(t, at, p, e)) < 0 ||
	    (r = oci_read_strv(t, at, "env", &p->env, e)) < 0 ||
	    (r = oci_need_str(at, "cwd", &p->cwd, e)) < 0 ||
	    (r = oci_check_abs_path(at, "cwd", p->cwd, e)) < 0)
		return r;
	if (json_member(at, "capabilities", &sub)) {
		if ((r = parse_capabilities(t, &sub, &p->capabilities, e)) < 0)
			return r;
	}
	if ((r = oci_read_list(t, at, "rlimits", 64, sizeof(*p->rlimits), parse_rlimit, &p->rlimits,
			       &p->n_rlimits, e)) < 0 ||
	    (r = check_rlimits_once(at, p, e)) < 0 ||
	    (r = oci_read_bool(at, "noNewPrivileges", &p->no_new_privileges, e)) < 0 ||
	    (r = oci_read_i64(at, "oomScoreAdj", -1000, 1000, &p->oom_score_adj, e)) < 0 ||
	    (r = oci_read_text(at, "apparmorProfile", &p->apparmor_profile, e)) < 0 ||
	    (r = oci_read_text(at, "selinuxLabel", &p->selinux_label, e)) < 0)
		return r;
	return parse_running(t, at, p, e);
}
