// SPDX-License-Identifier: Apache-2.0
#include "agent/mount_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "oci/oci.h"

enum kind {
	ATTR,  // of the mount; with "r" before its name also of all below it
	SUPER, // a flag of the file system, by the same name
	EXT,
	NOTHING,
};
struct option {
	const char *name;
	enum kind kind;
	uint64_t set, clear;
};

static const struct option options[] = {
	{ "defaults", NOTHING, 0, 0 },
	{ "ro", ATTR, MOUNT_ATTR_RDONLY, 0 },
	{ "rw", ATTR, 0, MOUNT_ATTR_RDONLY },
	{ "nosuid", ATTR, MOUNT_ATTR_NOSUID, 0 },
	{ "suid", ATTR, 0, MOUNT_ATTR_NOSUID },
	{ "nodev", ATTR, MOUNT_ATTR_NODEV, 0 },
	{ "dev", ATTR, 0, MOUNT_ATTR_NODEV },
	{ "noexec", ATTR, MOUNT_ATTR_NOEXEC, 0 },
	{ "exec", ATTR, 0, MOUNT_ATTR_NOEXEC },
	{ "nodiratime", ATTR, MOUNT_ATTR_NODIRATIME, 0 },
	{ "diratime", ATTR, 0, MOUNT_ATTR_NODIRATIME },
	{ "relatime", ATTR, MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "norelatime", ATTR, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME },
	{ "noatime", ATTR, MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME },
	{ "atime", ATTR, MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "strictatime", ATTR, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME },
	{ "nostrictatime", ATTR, MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "nosymfollow", ATTR, MOUNT_ATTR_NOSYMFOLLOW, 0 },
	{ "symfollow", ATTR, 0, MOUNT_ATTR_NOSYMFOLLOW },
	{ "sync", SUPER, 0, 0 },
	{ "async", SUPER, 0, 0 },
	{ "dirsync", SUPER, 0, 0 },
	{ "lazytime", SUPER, 0, 0 },
	{ "nolazytime", SUPER, 0, 0 },
	// Linux 5.15 has dropped mandatory locks; the others change nothing that a container could see.
	{ "mand", NOTHING, 0, 0 },
	{ "nomand", NOTHING, 0, 0 },
	{ "iversion", NOTHING, 0, 0 },
	{ "noiversion", NOTHING, 0, 0 },
	{ "silent", NOTHING, 0, 0 },
	{ "loud", NOTHING, 0, 0 },
	{ "bind", EXT, MOUNT_BIND, 0 },
	{ "rbind", EXT, MOUNT_BIND | MOUNT_RBIND, 0 },
	{ "remount", EXT, MOUNT_REMOUNT, 0 },
	{ "tmpcopyup", EXT, MOUNT_COPY_UP, 0 },
	{ "copy-symlink", EXT, MOUNT_COPY_SYMLINK, 0 },
	{ "src-nofollow", EXT, MOUNT_SRC_NOFOLLOW, 0 },
	{ "dest-nofollow", EXT, MOUNT_DEST_NOFOLLOW, 0 },
	{ "idmap", EXT, MOUNT_IDMAP, 0 },
	{ "ridmap", EXT, MOUNT_IDMAP | MOUNT_RIDMAP, 0 },
};

static const struct option *find(const char *name)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

uint64_t mount_propagation(const char *name)
{
	static const struct {
		const char *name;
		uint64_t flag;
	} kinds[] = {
		{ "private", MS_PRIVATE },
		{ "slave", MS_SLAVE },
		{ "shared", MS_SHARED },
		{ "unbindable", MS_UNBINDABLE },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i].flag;
		if (*name == 'r' && strcmp(kinds[i].name, name + 1) == 0)
			return kinds[i].flag | MS_REC;
	}
	return 0;
}

static void change(struct mount_attr *a, const struct option *o)
{
	a->attr_set = (a->attr_set & ~o->clear) | o->set;
	a->attr_clr = (a->attr_clr & ~o->set) | o->clear;
}

static int add_fs(const struct oci_mount *m, const char *o, struct mount_options *p, struct err *e)
{
	size_t len = strlen(p->fs), room = sizeof(p->fs) - len;

	if ((size_t)snprintf(p->fs + len, room, "%s%s", len ? "," : "", o) >= room)
		return err_set(e, E2BIG, "mounts: %s: options: longer than %zu bytes",
			       m->destination, sizeof(p->fs) - 1);
	return 0;
}

static int add(const struct oci_mount *m, const char *name, struct mount_options *p, struct err *e)
{
	const struct option *o = find(name);

	if (!o && mount_propagation(name)) {
		p->propagation = mount_propagation(name);
		return 0;
	}
	if (!o && *name == 'r' && (o = find(name + 1)) && o->kind == ATTR) {
		change(&p->all, o);
		return 0;
	}
	if (!o || o->kind == SUPER)
		return add_fs(m, name, p, e);
	if (o->kind == ATTR)
		change(&p->top, o);
	if (o->kind == EXT)
		p->ext |= (unsigned)o->set;
	return 0;
}

int mount_options_parse(const struct oci_mount *m, struct mount_options *ret, struct err *e)
{
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; r == 0 && i < m->options.n; i++)
		r = add(m, m->options.v[i], ret, e);
	if (r == 0 && m->bind)
		ret->ext |= MOUNT_BIND | (m->rbind ? MOUNT_RBIND : 0);
	ret->sb_ro = ret->top.attr_set & MOUNT_ATTR_RDONLY;
	ret->sb_rw = ret->top.attr_clr & MOUNT_ATTR_RDONLY;
	return r;
}
