// SPDX-License-Identifier: Apache-2.0
#include "agent/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/cgroup.h"
#include "agent/mount_options.h"
#include "agent/namespaces.h"
#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "base/userns.h"
#include "oci/oci.h"

static bool is_type(const struct oci_mount *m, const char *a, const char *b)
{
	return m->type && (strcmp(m->type, a) == 0 || strcmp(m->type, b) == 0);
}

static bool is_dev(const char *destination)
{
	return strcmp(destination, "/dev") == 0 || strcmp(destination, "/dev/") == 0;
}

// ---- sources
static int open_source(const struct oci_mount *m, struct err *e)
{
	struct mount_options o;
	unsigned flags = OPEN_TREE_CLOEXEC;
	struct stat st;
	int fd, r = mount_options_parse(m, &o, e);

	if (r < 0 || !(o.ext & MOUNT_BIND) || (o.ext & MOUNT_REMOUNT))
		return r < 0 ? r : -1;
	if (!m->source)
		return err_set(e, EINVAL, "mounts: %s: a bind mount without a source",
			       m->destination);
	flags |= o.ext & (MOUNT_SRC_NOFOLLOW | MOUNT_COPY_SYMLINK) ? AT_SYMLINK_NOFOLLOW : 0;
	if (o.ext & MOUNT_COPY_SYMLINK && lstat(m->source, &st) == 0 && S_ISLNK(st.st_mode))
		fd = open(m->source, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	else
		fd = open_tree(AT_FDCWD, m->source,
			       flags | OPEN_TREE_CLONE | (o.ext & MOUNT_RBIND ? AT_RECURSIVE : 0));
	return fd < 0 ? err_errno(e, errno, "mounts: %s: source %s", m->destination, m->source)
		      : fd;
}

int mounts_open(const struct oci_config *c, struct mount_sources *ret, struct err *e)
{
	ret->n = 0;
	ret->fd = calloc(c->n_mounts + 1, sizeof(*ret->fd));
	if (!ret->fd)
		return err_errno(e, ENOMEM, "mounts");
	for (; ret->n < c->n_mounts; ret->n++) {
		struct err why = { 0 };

		ret->fd[ret->n] = open_source(&c->mounts[ret->n], &why);
		if (ret->fd[ret->n] < 0 && why.code)
			return err_set(e, why.code, "%s", why.msg);
	}
	return 0;
}

void mounts_close(struct mount_sources *s)
{
	for (size_t i = 0; i < s->n; i++)
		close_fd(s->fd[i]);
	free(take_ptr(&s->fd));
}

// ---- what is mounted
// The group that the process is in, as a directory: what the cgroup file system shows where no cgroup namespace does.
static int own_group(const char *destination, struct err *e)
{
	char *text AUTO_FREE = NULL, path[CGROUP_PATH_BYTES + sizeof(CGROUP_ROOT)];
	int fd, r = io_read_file(AT_FDCWD, "/proc/self/cgroup", 16384, &text, NULL, e);
	char *own = r < 0 ? NULL : strstr(text, "0::/");

	if (r < 0)
		return r;
	if (!own)
		return err_set(e, ENOENT, "mounts: %s: no cgroup", destination);
	(void)snprintf(path, sizeof(path), CGROUP_ROOT "%.*s", (int)strcspn(own + 3, "\n"),
		       own + 3); // a path of a group is at most CGROUP_PATH_BYTES
	fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return fd < 0 ? err_errno(e, errno, "mounts: %s: %s", destination, path) : fd;
}

// In a user namespace a new proc needs a pid namespace of the container's, a new sysfs a network namespace: without, it is
// the guest's.
static int guests_own(const struct oci_mount *m, const struct userns_aid *aid)
{
	if (is_type(m, "sysfs", "sysfs") && aid->sysfs >= 0)
		return fcntl(aid->sysfs, F_DUPFD_CLOEXEC, 0);
	return open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
}

static int add_option(struct mount_options *o, const char *text)
{
	size_t len = strlen(o->fs), room = sizeof(o->fs) - len;

	return (size_t)snprintf(o->fs + len, room, "%s%s", len ? "," : "", text) >= room ? -E2BIG
											 : 0;
}

static int add_readonly(struct mount_options *o)
{
	return o->sb_ro || o->sb_rw ? add_option(o, o->sb_ro ? "ro" : "rw") : 0;
}

// Without a mode of its own a tmpfs takes that of the directory it covers.
static int add_mode(int at, struct mount_options *o)
{
	char text[16];
	struct stat st;

	if (strncmp(o->fs, "mode=", 5) == 0 || strstr(o->fs, ",mode="))
		return 0;
	if (fstat(at, &st) < 0)
		return -errno;
	(void)snprintf(text, sizeof(text), "mode=%o", st.st_mode & 07777u); // fits
	return add_option(o, text);
}

static int make_filesystem(const struct oci_config *c, const struct oci_mount *m, int at,
			   const struct userns_aid *aid, struct mount_options *o, struct err *e)
{
	const char *type = m->type ? m->type : "", *source = m->source ? m->source : type;
	struct err why = { 0 };
	int fd, r = 0;

	if (is_type(m, "cgroup", "cgroup2")) {
		if (!c->lin.ns[OCI_NS_CGROUP].present)
			return own_group(m->destination, e);
		type = "cgroup2";
	}
	if (is_type(m, "tmpfs", "tmpfs"))
		r = add_mode(at, o);
	if (r == 0 && !(o->ext & MOUNT_COPY_UP))
		r = add_readonly(o);
	if (r < 0)
		return err_errno(e, -r, "mounts: %s: options", m->destination);
	fd = filesystem_mount(type, source, o->fs,
			      (unsigned)(o->top.attr_set & ~(uint64_t)MOUNT_ATTR_RDONLY), &why);
	if (fd == -EPERM && c->lin.ns[OCI_NS_USER].present && (is_type(m, "sysfs", "proc")))
		fd = guests_own(m, aid);
	return fd < 0 ? err_set(e, why.code, "mounts: %s: %s", m->destination, why.msg) : fd;
}

bool mounts_group_writable(const struct oci_config *c)
{
	for (size_t i = 0; i < c->n_mounts; i++) {
		struct mount_options o;

		if (is_type(&c->mounts[i], "cgroup", "cgroup2") &&
		    mount_options_parse(&c->mounts[i], &o, NULL) == 0 && !o.sb_ro)
			return true;
	}
	return false;
}

// ---- where
// As runc has it: the proc of a container is what tells its processes apart for others, and is not to be faked.
static int check_proc(int root, int at, const struct oci_mount *m, int source, struct err *e)
{
	static const char *const allowed[] = {
		"/cpuinfo",
		"/diskstats",
		"/loadavg",
		"/meminfo",
		"/net/dev",
		"/slabinfo",
		"/stat",
		"/swaps",
		"/sys/kernel/ns_last_pid",
		"/uptime",
		"/sys/crypto/fips_enabled",
	};
	char link[32], top[PATH_MAX] = { 0 }, path[PATH_MAX] = { 0 };
	bool is_proc = is_type(m, "proc", "proc");
	const char *below;
	struct statfs fs;
	size_t len;

	if (source >= 0 && fstatfs(source, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC)
		is_proc = true;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", root); // fits
	if (readlink(link, top, sizeof(top) - 1) < 0)
		return err_errno(e, errno, "mounts: %s", m->destination);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", at); // fits
	if (readlink(link, path, sizeof(path) - 1) < 0)
		return err_errno(e, errno, "mounts: %s", m->destination);
	len = strlen(top);
	if (strncmp(path, top, len) != 0 || strncmp(path + len, "/proc", 5) != 0 ||
	    (path[len + 5] && path[len + 5] != '/'))
		return 0;
	below = path + len + 5;
	if (!*below)
		return is_proc ? 0
			       : err_set(e, EPERM,
					 "mounts: %s: cannot be mounted because it is not of type proc",
					 m->destination);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
		if (strcmp(below, allowed[i]) == 0)
			return 0;
	return err_set(e, EPERM, "mounts: %s: cannot be mounted because it is inside /proc",
		       m->destination);
}

static int open_destination(int root, const struct oci_mount *m, const struct mount_options *o,
			    int source, struct err *e)
{
	bool plain = is_type(m, "proc", "sysfs") && source < 0;
	unsigned how = ROOTFS_DIR;
	struct stat st;
	int at AUTO_CLOSE = -1, r;

	if (source >= 0 && fstat(source, &st) < 0)
		return err_errno(e, errno, "mounts: %s: source", m->destination);
	if (source >= 0 && !S_ISDIR(st.st_mode))
		how = ROOTFS_FILE;
	if (plain || o->ext & MOUNT_DEST_NOFOLLOW)
		how |= ROOTFS_NOFOLLOW;
	at = rootfs_open(root, m->destination, how, e);
	if (at < 0)
		return err_wrap(e, "mounts");
	if (plain && (fstat(at, &st) < 0 || !S_ISDIR(st.st_mode)))
		return err_set(
			e, ENOTDIR,
			"mounts: %s: filesystem \"%s\" must be mounted on ordinary directory",
			m->destination, m->type);
	r = check_proc(root, at, m, source, e);
	return r < 0 ? r : take_fd(&at);
}

// ---- how
// A flag that the source's own mount locks cannot be taken away in a user namespace: it stays.
static int set_attributes(int fd, const struct mount_attr *attr, unsigned flags)
{
	struct mount_attr a = *attr;

	if (!a.attr_set && !a.attr_clr)
		return 0;
	if (mount_setattr(fd, "", AT_EMPTY_PATH | flags, &a, sizeof(a)) == 0)
		return 0;
	a.attr_clr &= MOUNT_ATTR__ATIME;
	return errno == EPERM && attr->attr_clr != a.attr_clr &&
			       mount_setattr(fd, "", AT_EMPTY_PATH | flags, &a, sizeof(a)) == 0
		       ? 0
		       : -errno;
}

static int set_propagation(int fd, uint64_t propagation)
{
	struct mount_attr a = { .propagation = propagation & ~(uint64_t)MS_REC };

	return propagation && mount_setattr(fd, "",
					    AT_EMPTY_PATH |
						    (propagation & MS_REC ? AT_RECURSIVE : 0),
					    &a, sizeof(a)) < 0
		       ? -errno
		       : 0;
}

// For a bind mount the host has done it, on what it shares.
static int map_ids(int fd, const struct oci_config *c, const struct oci_mount *m,
		   const struct mount_options *o, struct err *e)
{
	char uids[OCI_ID_MAPS_BYTES], gids[OCI_ID_MAPS_BYTES];
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP };
	int proc AUTO_CLOSE = -1, ns AUTO_CLOSE = -1;

	if ((!m->uid_maps.n && !(o->ext & MOUNT_IDMAP)) || o->ext & MOUNT_BIND)
		return 0;
	if (c->lin.ns[OCI_NS_USER].present)
		return err_set(
			e, EOPNOTSUPP,
			"mounts: %s: id mapping of a %s that belongs to the container's user namespace",
			m->destination, m->type);
	if (!m->uid_maps.n)
		return err_set(e, EINVAL, "mounts: %s: id mapping without uidMappings",
			       m->destination);
	if (oci_id_maps_text(&m->uid_maps, uids) < 0 || oci_id_maps_text(&m->gid_maps, gids) < 0)
		return err_set(e, E2BIG, "mounts: %s: too many id mappings", m->destination);
	// The guest's /proc knows this process's children by other numbers.
	proc = filesystem_mount("proc", "proc", "", 0, e);
	ns = proc < 0 ? proc : userns_new(proc, uids, gids, e);
	if (ns < 0)
		return err_wrap(e, "mounts: %s", m->destination);
	a.userns_fd = (uint64_t)ns;
	return mount_setattr(fd, "", AT_EMPTY_PATH, &a, sizeof(a)) < 0
		       ? err_errno(e, errno, "mounts: %s: id mapping of a %s", m->destination,
				   m->type)
		       : 0;
}

static int apply(int fd, const struct oci_mount *m, const struct mount_options *o, struct err *e)
{
	int r = set_attributes(fd, &o->top, 0);

	r = r < 0 ? r : set_attributes(fd, &o->all, AT_RECURSIVE);
	return r < 0 ? err_errno(e, -r, "mounts: %s: mount attributes", m->destination) : 0;
}

static int attach(int fd, int at, const struct oci_mount *m, const struct mount_options *o,
		  struct err *e)
{
	int r;

	if (move_mount(fd, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_errno(e, errno, "mounts: %s", m->destination);
	r = set_propagation(fd, o->propagation);
	return r < 0 ? err_errno(e, -r, "mounts: %s: propagation", m->destination) : 0;
}

static int remount(int root, const struct oci_mount *m, struct mount_options *o, struct err *e)
{
	int at AUTO_CLOSE = rootfs_open(root, m->destination, 0, e);
	int r = 0;

	if (at < 0)
		return err_wrap(e, "mounts");
	if (!(o->ext & MOUNT_BIND)) {
		r = add_readonly(o);
		r = r < 0 ? err_errno(e, -r, "options") : filesystem_change(at, o->fs, e);
		if (r < 0)
			return err_wrap(e, "mounts: %s: remount", m->destination);
	}
	r = apply(at, m, o, e);
	if (r == 0 && (r = set_propagation(at, o->propagation)) < 0)
		r = err_errno(e, -r, "mounts: %s: propagation", m->destination);
	return r;
}

static int copy_symlink(int root, int link, const struct oci_mount *m, struct err *e)
{
	char target[PATH_MAX], there[PATH_MAX], dir[PATH_MAX];
	const char *slash = strrchr(m->destination, '/');
	ssize_t n = readlinkat(link, "", target, sizeof(target) - 1), n2;
	int parent AUTO_CLOSE = -1;

	if (n < 0)
		return err_errno(e, errno, "mounts: %s: copy-symlink", m->destination);
	if (!slash || !slash[1])
		return err_set(e, EINVAL, "mounts: %s: copy-symlink: not a name", m->destination);
	target[n] = '\0';
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - m->destination),
		       m->destination); // at most OCI_PATH_MAX
	parent = rootfs_open(root, *dir ? dir : "/", ROOTFS_DIR, e);
	if (parent < 0)
		return err_wrap(e, "mounts");
	if (symlinkat(target, parent, slash + 1) == 0)
		return 0;
	n2 = errno == EEXIST ? readlinkat(parent, slash + 1, there, sizeof(there)) : -1;
	return n2 == n && memcmp(target, there, (size_t)n) == 0
		       ? 0
		       : err_set(e, EEXIST,
				 "mounts: %s: copy-symlink: is there already, and is something else",
				 m->destination);
}

static int mount_new(int root, const struct oci_config *c, const struct oci_mount *m, int source,
		     const struct userns_aid *aid, struct mount_options *o, struct err *e)
{
	int at AUTO_CLOSE = open_destination(root, m, o, source, e), fd AUTO_CLOSE = -1;
	int r;

	if (at < 0)
		return at;
	fd = source >= 0 ? fcntl(source, F_DUPFD_CLOEXEC, 0) : make_filesystem(c, m, at, aid, o, e);
	if (fd < 0)
		return source >= 0 ? err_errno(e, errno, "mounts: %s", m->destination) : fd;
	if (o->ext & MOUNT_COPY_UP) {
		if (!is_type(m, "tmpfs", "tmpfs"))
			return err_set(e, EINVAL, "mounts: %s: tmpcopyup goes with tmpfs only",
				       m->destination);
		r = mounts_copy_up(at, fd, m->destination, e);
		if (r < 0)
			return r;
	}
	r = map_ids(fd, c, m, o, e);
	r = r < 0 ? r : apply(fd, m, o, e);
	return r < 0 ? r : attach(fd, at, m, o, e);
}

// A /dev that is to be read-only becomes so at the end: nodes and the console go there first.
static void leave_dev_writable(struct mount_options *o)
{
	o->sb_ro = false;
	o->top.attr_set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
}

static int mount_one(int root, const struct oci_config *c, const struct oci_mount *m, int source,
		     const struct userns_aid *aid, struct err *e)
{
	struct mount_options o;
	struct stat st;
	int r = mount_options_parse(m, &o, e);

	if (r < 0)
		return r;
	if (o.ext & MOUNT_REMOUNT)
		return remount(root, m, &o, e);
	if (o.ext & MOUNT_COPY_SYMLINK && source >= 0 && fstat(source, &st) == 0 &&
	    S_ISLNK(st.st_mode))
		return copy_symlink(root, source, m, e);
	if (is_dev(m->destination))
		leave_dev_writable(&o);
	return mount_new(root, c, m, source, aid, &o, e);
}

int mounts_make(int root, const struct oci_config *c, const struct mount_sources *s,
		const struct userns_aid *aid, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n_mounts; i++)
		r = mount_one(root, c, &c->mounts[i], s->fd[i], aid, e);
	return r;
}

// ---- after pivot_root
// The last mount at /dev says whether it stays writable.
static int finish_dev(const struct oci_config *c, struct err *e)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	bool set = false;

	for (size_t i = 0; i < c->n_mounts; i++) {
		struct mount_options o;
		int r = is_dev(c->mounts[i].destination) ? mount_options_parse(&c->mounts[i], &o, e)
							 : 1;

		if (r < 0)
			return r;
		if (r == 0)
			set = o.top.attr_set & MOUNT_ATTR_RDONLY;
	}
	return set && mount_setattr(AT_FDCWD, "/dev", 0, &ro, sizeof(ro)) < 0
		       ? err_errno(e, errno, "mounts: /dev: mount attributes")
		       : 0;
}

int mounts_finish(const struct oci_config *c, struct err *e)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	int r = finish_dev(c, e);

	r = r < 0 ? r : paths_hide(&c->lin, e);
	if (r == 0 && c->root.readonly && mount_setattr(AT_FDCWD, "/", 0, &ro, sizeof(ro)) < 0)
		r = err_errno(e, errno, "root.readonly");
	if (r == 0 && c->lin.rootfs_propagation &&
	    mount(NULL, "/", NULL, mount_propagation(c->lin.rootfs_propagation), NULL) < 0)
		r = err_errno(e, errno, "linux.rootfsPropagation");
	return r;
}
