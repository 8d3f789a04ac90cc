// SPDX-License-Identifier: Apache-2.0
// Options that are flags of mount(2) are in a table, the others are the file system's. What they come to may be longer than
// the page that mount(2) takes (an overlay of many layers): then, and for all else, fsconfig gives them one by one.
#include "shim/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "proto/task.pb-c.h"

enum { ROOTFS_MOUNTS_MAX = 64, ROOTFS_PATH_BYTES = 4096 };

struct flag {
	const char *name;
	unsigned long set, clear;
};
static const struct flag flags[] = {
	{ "async", 0, MS_SYNCHRONOUS },
	{ "atime", 0, MS_NOATIME },
	{ "bind", MS_BIND, 0 },
	{ "defaults", 0, 0 },
	{ "dev", 0, MS_NODEV },
	{ "diratime", 0, MS_NODIRATIME },
	{ "dirsync", MS_DIRSYNC, 0 },
	{ "exec", 0, MS_NOEXEC },
	{ "noatime", MS_NOATIME, 0 },
	{ "nodev", MS_NODEV, 0 },
	{ "nodiratime", MS_NODIRATIME, 0 },
	{ "noexec", MS_NOEXEC, 0 },
	{ "norelatime", 0, MS_RELATIME },
	{ "nostrictatime", 0, MS_STRICTATIME },
	{ "nosuid", MS_NOSUID, 0 },
	{ "rbind", MS_BIND | MS_REC, 0 },
	{ "relatime", MS_RELATIME, 0 },
	{ "ro", MS_RDONLY, 0 },
	{ "rw", 0, MS_RDONLY },
	{ "strictatime", MS_STRICTATIME, 0 },
	{ "suid", 0, MS_NOSUID },
	{ "sync", MS_SYNCHRONOUS, 0 },
};

struct options {
	unsigned long flags;
	bool loop;
	const char *fs[256];
	unsigned n_fs;
};

static int parse(const Task__Mount *m, struct options *o, struct err *e)
{
	*o = (struct options){ 0 };
	for (size_t i = 0; i < m->n_options; i++) {
		const char *name = m->options[i];
		size_t f = 0;

		while (f < sizeof(flags) / sizeof(flags[0]) && strcmp(flags[f].name, name) != 0)
			f++;
		if (f < sizeof(flags) / sizeof(flags[0]))
			o->flags = (o->flags & ~flags[f].clear) | flags[f].set;
		else if (strcmp(name, "loop") == 0)
			o->loop = true;
		else if (o->n_fs == sizeof(o->fs) / sizeof(o->fs[0]))
			return err_set(e, E2BIG, "rootfs: %s: too many options", m->source);
		else
			o->fs[o->n_fs++] = name;
	}
	return 0;
}

// A loop device over the file, which goes with the mount.
static int loop_device(const char *file, bool ro, char *ret_path, size_t size, int *ret_fd,
		       struct err *e)
{
	int control AUTO_CLOSE = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int backing AUTO_CLOSE = open(file, (ro ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	if (control < 0)
		return err_errno(e, errno, "/dev/loop-control");
	if (backing < 0)
		return err_errno(e, errno, "open %s", file);
	for (int tries = 0; tries < 100; tries++) {
		struct loop_config c = { .fd = (unsigned)backing,
					 .info.lo_flags = LO_FLAGS_AUTOCLEAR |
							  (ro ? LO_FLAGS_READ_ONLY : 0) };
		int n = ioctl(control, LOOP_CTL_GET_FREE), fd AUTO_CLOSE = -1;

		if (n < 0)
			return err_errno(e, errno, "LOOP_CTL_GET_FREE");
		(void)snprintf(ret_path, size, "/dev/loop%d", n); // fits
		fd = open(ret_path, (ro ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &c) == 0) {
			*ret_fd = take_fd(&fd);
			return 0;
		}
		if (errno != EBUSY) // somebody else has taken it
			return err_errno(e, errno, "%s", ret_path);
	}
	return err_set(e, EBUSY, "no free loop device for %s", file);
}

// Layers one by one: a value has at most 255 bytes.
static int add_layers(int fs, const Task__Mount *m, char *layers, struct err *e)
{
	char *save = NULL;

	for (char *l = strtok_r(layers, ":", &save); l; l = strtok_r(NULL, ":", &save))
		if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", l, 0) < 0)
			return err_errno(e, errno, "rootfs: %s: layer %.200s", m->type, l);
	return 0;
}

static int configure(int fs, const Task__Mount *m, const char *source, const struct options *o,
		     struct err *e)
{
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return err_errno(e, errno, "rootfs: %s: source %s", m->type, source);
	if ((o->flags & MS_RDONLY) &&
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
		return err_errno(e, errno, "rootfs: %s: ro", m->type);
	for (unsigned i = 0; i < o->n_fs; i++) {
		char *pair AUTO_FREE = strdup(o->fs[i]), *value = pair ? strchr(pair, '=') : NULL;

		if (!pair)
			return err_errno(e, ENOMEM, "rootfs");
		if (value)
			*value++ = '\0';
		if (value && strcmp(pair, "lowerdir") == 0) {
			int r = add_layers(fs, m, value, e);

			if (r < 0)
				return r;
			continue;
		}
		if (syscall(SYS_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, pair,
			    value, 0) < 0)
			return err_errno(e, errno, "rootfs: %s: option %.200s", m->type, o->fs[i]);
	}
	return syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0
		       ? err_errno(e, errno, "rootfs: %s of %s", m->type, source)
		       : 0;
}

static unsigned attributes(unsigned long f)
{
	return (f & MS_RDONLY ? MOUNT_ATTR_RDONLY : 0) | (f & MS_NOSUID ? MOUNT_ATTR_NOSUID : 0) |
	       (f & MS_NODEV ? MOUNT_ATTR_NODEV : 0) | (f & MS_NOEXEC ? MOUNT_ATTR_NOEXEC : 0) |
	       (f & MS_NOATIME ? MOUNT_ATTR_NOATIME : 0) |
	       (f & MS_STRICTATIME ? MOUNT_ATTR_STRICTATIME : 0) |
	       (f & MS_NODIRATIME ? MOUNT_ATTR_NODIRATIME : 0);
}

static int mount_by_parts(const Task__Mount *m, const char *source, const struct options *o,
			  const char *at, struct err *e)
{
	int fs AUTO_CLOSE = (int)syscall(SYS_fsopen, m->type, FSOPEN_CLOEXEC), mnt AUTO_CLOSE = -1;
	int r = fs < 0 ? err_errno(e, errno, "rootfs: file system %s", m->type)
		       : configure(fs, m, source, o, e);

	if (r < 0)
		return r;
	mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes(o->flags));
	if (mnt < 0 || syscall(SYS_move_mount, mnt, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, errno, "rootfs: mounting %s at %s", m->type, at);
	return 0;
}

// In one string, or -E2BIG.
static int join(const struct options *o, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < o->n_fs; i++) {
		n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? "," : "", o->fs[i]);
		if (n >= size)
			return -E2BIG;
	}
	return 0;
}

static int mount_one(const Task__Mount *m, const char *at, struct err *e)
{
	struct options o;
	char data[4000], device[32];
	const char *source = m->source;
	int loop AUTO_CLOSE = -1;
	int r = parse(m, &o, e);

	if (r == 0 && o.loop) {
		r = loop_device(m->source, o.flags & MS_RDONLY, device, sizeof(device), &loop, e);
		source = device;
	}
	if (r < 0)
		return r;
	if (!(o.flags & MS_BIND) && join(&o, data, sizeof(data)) < 0)
		return mount_by_parts(m, source, &o, at, e);
	if (mount(source, at, m->type, o.flags & ~(o.flags & MS_BIND ? MS_RDONLY : 0ul),
		  o.flags & MS_BIND ? NULL : data) < 0)
		return err_errno(e, errno, "rootfs: mounting %s (%s) at %s", source, m->type, at);
	// A bind mount takes its flags at a second call only.
	if ((o.flags & MS_BIND) && (o.flags & ~(unsigned long)(MS_BIND | MS_REC)) &&
	    mount(NULL, at, NULL, MS_REMOUNT | o.flags, NULL) < 0)
		return err_errno(e, errno, "rootfs: options of %s", at);
	return 0;
}

static int place(const Task__Mount *m, const char *dir, char *buf, struct err *e)
{
	const char *below = m->target ? m->target : "";

	if (strstr(below, ".."))
		return err_set(e, EINVAL, "rootfs: target %s", below);
	if (snprintf(buf, ROOTFS_PATH_BYTES, "%s/%s", dir, below) >= ROOTFS_PATH_BYTES)
		return err_set(e, ENAMETOOLONG, "rootfs: target %s", below);
	return 0;
}

int rootfs_mount(Task__Mount *const *mounts, size_t n, const char *dir, struct err *e)
{
	char at[ROOTFS_PATH_BYTES];
	int r = 0;

	if (n > ROOTFS_MOUNTS_MAX)
		return err_set(e, E2BIG, "rootfs: more than %d mounts", ROOTFS_MOUNTS_MAX);
	if (n && mkdir(dir, 0711) < 0 && errno != EEXIST)
		return err_errno(e, errno, "mkdir %s", dir);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = place(mounts[i], dir, at, e);
		r = r < 0 ? r : mount_one(mounts[i], at, e);
	}
	if (r < 0)
		rootfs_unmount(dir);
	return r;
}

void rootfs_unmount(const char *dir)
{
	while (umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
}
