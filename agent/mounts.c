// SPDX-License-Identifier: Apache-2.0
// A container's mounts: options, destinations that never leave the root, masked and read-only paths.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

struct option {
	const char *name;
	unsigned long set, clear;
};

static const struct option flag_options[] = {
	{ "defaults", 0, 0 },
	{ "ro", MS_RDONLY, 0 },
	{ "rw", 0, MS_RDONLY },
	{ "nosuid", MS_NOSUID, 0 },
	{ "suid", 0, MS_NOSUID },
	{ "nodev", MS_NODEV, 0 },
	{ "dev", 0, MS_NODEV },
	{ "noexec", MS_NOEXEC, 0 },
	{ "exec", 0, MS_NOEXEC },
	{ "sync", MS_SYNCHRONOUS, 0 },
	{ "async", 0, MS_SYNCHRONOUS },
	{ "dirsync", MS_DIRSYNC, 0 },
	{ "remount", MS_REMOUNT, 0 },
	{ "mand", MS_MANDLOCK, 0 },
	{ "nomand", 0, MS_MANDLOCK },
	{ "atime", 0, MS_NOATIME },
	{ "noatime", MS_NOATIME, 0 },
	{ "diratime", 0, MS_NODIRATIME },
	{ "nodiratime", MS_NODIRATIME, 0 },
	{ "relatime", MS_RELATIME, 0 },
	{ "norelatime", 0, MS_RELATIME },
	{ "strictatime", MS_STRICTATIME, 0 },
	{ "nostrictatime", 0, MS_STRICTATIME },
	{ "iversion", MS_I_VERSION, 0 },
	{ "noiversion", 0, MS_I_VERSION },
	{ "lazytime", MS_LAZYTIME, 0 },
	{ "nolazytime", 0, MS_LAZYTIME },
	{ "silent", MS_SILENT, 0 },
	{ "loud", 0, MS_SILENT },
	{ "bind", MS_BIND, 0 },
	{ "rbind", MS_BIND | MS_REC, 0 },
	{ "nosymfollow", 256, 0 },
	{ "symfollow", 0, 256 },
};
static const struct option propagation_options[] = {
	{ "private", MS_PRIVATE, 0 },       { "rprivate", MS_PRIVATE | MS_REC, 0 },
	{ "slave", MS_SLAVE, 0 },           { "rslave", MS_SLAVE | MS_REC, 0 },
	{ "shared", MS_SHARED, 0 },         { "rshared", MS_SHARED | MS_REC, 0 },
	{ "unbindable", MS_UNBINDABLE, 0 }, { "runbindable", MS_UNBINDABLE | MS_REC, 0 },
};
static const char *const refused[] = { "idmap", "ridmap", "tmpcopyup" };
// For the whole tree below a mount, by mount_setattr: what is set and what is cleared.
static const struct option recursive_options[] = {
	{ "rro", MOUNT_ATTR_RDONLY, 0 },
	{ "rrw", 0, MOUNT_ATTR_RDONLY },
	{ "rnosuid", MOUNT_ATTR_NOSUID, 0 },
	{ "rsuid", 0, MOUNT_ATTR_NOSUID },
	{ "rnodev", MOUNT_ATTR_NODEV, 0 },
	{ "rdev", 0, MOUNT_ATTR_NODEV },
	{ "rnoexec", MOUNT_ATTR_NOEXEC, 0 },
	{ "rexec", 0, MOUNT_ATTR_NOEXEC },
	{ "rnodiratime", MOUNT_ATTR_NODIRATIME, 0 },
	{ "rdiratime", 0, MOUNT_ATTR_NODIRATIME },
	{ "rrelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "rnorelatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME },
	{ "rnoatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME },
	{ "ratime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "rstrictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME },
	{ "rnostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "rnosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0 },
	{ "rsymfollow", 0, MOUNT_ATTR_NOSYMFOLLOW },
};

struct parsed {
	unsigned long flags, propagation;
	struct mount_attr attr; // recursive
	char data[2048];
};

static const struct option *find(const struct option *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

static int parse(const struct oci_mount *m, struct parsed *p, struct err *e)
{
	memset(p, 0, sizeof(*p));
	for (size_t i = 0; i < m->options.n; i++) {
		const char *o = m->options.v[i];
		const struct option *f =
			find(flag_options, sizeof(flag_options) / sizeof(*flag_options), o);
		const struct option *g =
			find(propagation_options,
			     sizeof(propagation_options) / sizeof(*propagation_options), o);
		const struct option *h =
			find(recursive_options,
			     sizeof(recursive_options) / sizeof(*recursive_options), o);
		size_t len = strlen(p->data);

		for (unsigned j = 0; j < sizeof(refused) / sizeof(*refused); j++)
			if (strcmp(o, refused[j]) == 0)
				return err_set(e, EOPNOTSUPP,
					       "mounts: %s: option %s: not supported yet",
					       m->destination, o);
		if (f) {
			p->flags = (p->flags | f->set) & ~f->clear;
		} else if (g) {
			p->propagation = g->set;
		} else if (h) {
			p->attr.attr_set = (p->attr.attr_set & ~h->clear) | h->set;
			p->attr.attr_clr = (p->attr.attr_clr & ~h->set) | h->clear;
		} else if ((size_t)snprintf(p->data + len, sizeof(p->data) - len, "%s%s",
					    len ? "," : "", o) >= sizeof(p->data) - len) {
			return err_set(e, E2BIG, "mounts: %s: options: longer than %zu bytes",
				       m->destination, sizeof(p->data) - 1);
		}
	}
	if (m->bind || m->rbind || (m->type && strcmp(m->type, "bind") == 0))
		p->flags |= MS_BIND | (m->rbind ? MS_REC : 0);
	return 0;
}

// ---- paths below the root. openat2 keeps symbolic links and ".." inside it.
static int open_in_root(int root, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

// Makes what is missing of a path, a component at a time, each looked up anew inside the root.
static int make_path(int root, const char *path, enum rootfs_create create, struct err *e)
{
	char part[4096];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return err_set(e, ENAMETOOLONG, "%s: path too long", path);
	for (size_t i = 1; i <= len; i++) {
		int parent AUTO_CLOSE = -1, at AUTO_CLOSE = -1;
		const char *name;
		bool last = i == len;
		size_t start;

		if (path[i] != '/' && !last)
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		at = open_in_root(root, part, O_PATH);
		if (at >= 0)
			continue;
		if (errno != ENOENT)
			return err_errno(e, errno, "%s", path);
		for (start = i; start > 0 && part[start - 1] != '/'; start--)
			;
		name = part + start;
		if (!*name)
			continue; // a doubled or final slash
		if (strcmp(name, "..") == 0 || strcmp(name, ".") == 0)
			return err_set(e, ENOENT, "%s: no such file or directory", path);
		part[start ? start - 1 : 0] = '\0';
		parent = open_in_root(root, start > 1 ? part : "/", O_PATH | O_DIRECTORY);
		if (parent < 0)
			return err_errno(e, errno, "%s", path);
		if (last && create == ROOTFS_FILE) {
			int fd = openat(parent, name,
					O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);

			if (fd < 0 && errno != EEXIST)
				return err_errno(e, errno, "creating %s", path);
			close_fd(fd);
		} else if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST) {
			return err_errno(e, errno, "creating %s", path);
		}
	}
	return 0;
}

int rootfs_open(int root, const char *path, enum rootfs_create create, struct err *e)
{
	int fd = open_in_root(root, path, O_PATH);
	int r;

	if (fd >= 0 || create == ROOTFS_NONE || errno != ENOENT)
		return fd >= 0 ? fd : err_errno(e, errno, "%s", path);
	r = make_path(root, path, create, e);
	if (r < 0)
		return r;
	fd = open_in_root(root, path, O_PATH);
	return fd >= 0 ? fd : err_errno(e, errno, "%s", path);
}

static void fd_path(int fd, char buf[64])
{
	(void)snprintf(buf, 64, "/proc/self/fd/%d", fd); // fits
}

// A bind mount takes its flags by a remount of its own; what the source's mount locks is kept.
static int bind_flags(const char *target, unsigned long flags, const char *name, struct err *e)
{
	struct statvfs st;
	unsigned long keep = 0;

	if (!(flags & ~(unsigned long)(MS_BIND | MS_REC)))
		return 0;
	if (statvfs(target, &st) == 0)
		keep = (st.f_flag & ST_NODEV ? MS_NODEV : 0) |
		       (st.f_flag & ST_NOSUID ? MS_NOSUID : 0) |
		       (st.f_flag & ST_NOEXEC ? MS_NOEXEC : 0);
	if (mount(NULL, target, NULL, (flags & ~(unsigned long)MS_REC) | MS_BIND | MS_REMOUNT,
		  NULL) == 0)
		return 0;
	if (mount(NULL, target, NULL,
		  (flags & ~(unsigned long)MS_REC) | MS_BIND | MS_REMOUNT | keep, NULL) < 0)
		return err_errno(e, errno, "mounts: %s: remount", name);
	return 0;
}

static int cgroup_mount(const char *target, unsigned long flags)
{
	return mount("cgroup2", target, "cgroup2", flags, NULL);
}

static int mount_one(int root, const struct oci_mount *m, struct err *e)
{
	struct parsed p;
	struct stat st;
	int fd AUTO_CLOSE = -1, fd2 AUTO_CLOSE = -1;
	char target[64];
	const char *type = m->type ? m->type : "", *source = m->source ? m->source : type;
	bool bind, is_file = false;
	int r = parse(m, &p, e);

	if (r < 0)
		return r;
	if (m->uid_maps.n || m->gid_maps.n)
		return err_set(e, EOPNOTSUPP, "mounts: %s: id-mapped mounts are not supported yet",
			       m->destination);
	bind = p.flags & MS_BIND;
	if (bind) {
		if (!m->source || stat(m->source, &st) < 0)
			return err_errno(e, m->source ? errno : EINVAL, "mounts: %s: source %s",
					 m->destination, m->source ? m->source : "");
		is_file = !S_ISDIR(st.st_mode);
	}
	fd = rootfs_open(root, m->destination, is_file ? ROOTFS_FILE : ROOTFS_DIR, e);
	if (fd < 0)
		return err_wrap(e, "mounts");
	fd_path(fd, target);
	if (bind)
		r = mount(source, target, NULL, p.flags & (MS_BIND | MS_REC), NULL);
	else if (strcmp(type, "cgroup") == 0 || strcmp(type, "cgroup2") == 0)
		r = cgroup_mount(target, p.flags);
	else
		r = mount(source, target, type, p.flags, *p.data ? p.data : NULL);
	if (r < 0)
		return err_errno(e, errno, "mounts: %s: mounting %s", m->destination,
				 bind ? source : type);
	// What was opened is the directory below the new mount: look again.
	fd2 = rootfs_open(root, m->destination, ROOTFS_NONE, e);
	if (fd2 < 0)
		return err_wrap(e, "mounts");
	fd_path(fd2, target);
	if (bind)
		r = bind_flags(target, p.flags, m->destination, e);
	if (r == 0 && (p.attr.attr_set || p.attr.attr_clr) &&
	    syscall(SYS_mount_setattr, fd2, "", AT_EMPTY_PATH | AT_RECURSIVE, &p.attr,
		    sizeof(p.attr)) < 0)
		r = err_errno(e, errno, "mounts: %s: recursive attributes", m->destination);
	if (r == 0 && p.propagation && mount(NULL, target, NULL, p.propagation, NULL) < 0)
		r = err_errno(e, errno, "mounts: %s: propagation", m->destination);
	return r;
}

int mounts_make(int root, const struct oci_config *c, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n_mounts; i++)
		r = mount_one(root, &c->mounts[i], e);
	return r;
}

// ---- after pivot_root
static int mask(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : err_errno(e, errno, "linux.maskedPaths: %s", path);
	if (S_ISDIR(st.st_mode)
		    ? mount("tmpfs", path, "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1") < 0
		    : mount("/dev/null", path, NULL, MS_BIND, NULL) < 0)
		return err_errno(e, errno, "linux.maskedPaths: %s", path);
	return 0;
}

static int readonly(const char *path, struct err *e)
{
	struct statvfs st;
	unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY;

	if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : err_errno(e, errno, "linux.readonlyPaths: %s", path);
	if (statvfs(path, &st) == 0)
		flags |= (st.f_flag & ST_NODEV ? MS_NODEV : 0) |
			 (st.f_flag & ST_NOSUID ? MS_NOSUID : 0) |
			 (st.f_flag & ST_NOEXEC ? MS_NOEXEC : 0);
	return mount(NULL, path, NULL, flags, NULL) < 0
		       ? err_errno(e, errno, "linux.readonlyPaths: %s", path)
		       : 0;
}

int mounts_finish(const struct oci_config *c, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->lin.readonly_paths.n; i++)
		r = readonly(c->lin.readonly_paths.v[i], e);
	for (size_t i = 0; r == 0 && i < c->lin.masked_paths.n; i++)
		r = mask(c->lin.masked_paths.v[i], e);
	if (r == 0 && c->root.readonly &&
	    mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
		r = err_errno(e, errno, "root.readonly: remount");
	if (r == 0 && c->lin.rootfs_propagation) {
		const struct option *g =
			find(propagation_options,
			     sizeof(propagation_options) / sizeof(*propagation_options),
			     c->lin.rootfs_propagation);

		if (g && mount(NULL, "/", NULL, g->set, NULL) < 0)
			r = err_errno(e, errno, "linux.rootfsPropagation");
	}
	return r;
}
