// SPDX-License-Identifier: Apache-2.0
// Devices of a container: nodes and links in /dev, and the cgroup's BPF program that says which may be used.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

// needs CONFIG_CGROUP_BPF

enum { INSNS_PER_RULE = 12, RULES_MAX = 300 };

// What every container may use (crun's list).
static const struct oci_device_rule always[] = {
	{ true, 'c', -1, -1, false, false, true }, { true, 'b', -1, -1, false, false, true },
	{ true, 'c', 1, 3, true, true, true },     { true, 'c', 1, 8, true, true, true },
	{ true, 'c', 1, 7, true, true, true },     { true, 'c', 5, 0, true, true, true },
	{ true, 'c', 1, 5, true, true, true },     { true, 'c', 1, 9, true, true, true },
	{ true, 'c', 5, 1, true, true, true },     { true, 'c', 136, -1, true, true, true },
	{ true, 'c', 5, 2, true, true, true },     { true, 'c', 10, 200, true, true, true },
};

static struct bpf_insn insn(uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	return (struct bpf_insn){
		.code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm
	};
}

// r2 type, r3 access, r4 major, r5 minor. A rule that matches returns; one that does not falls through.
static unsigned rule(struct bpf_insn *p, const struct oci_device_rule *r, bool *ret_always)
{
	unsigned n = 0, access = (r->mknod ? 1u : 0) | (r->read ? 2u : 0) | (r->write ? 4u : 0),
		 jumps[4], n_jumps = 0;

	if (r->type != 'a') {
		jumps[n_jumps++] = n;
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0, r->type == 'b' ? 1 : 2);
	}
	if (access != 7) { // wanted bits outside the rule's: no match
		p[n++] = insn(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		p[n++] = insn(BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0, (int32_t)(7 & ~access));
		jumps[n_jumps++] = n;
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_1, 0, 0, 0);
	}
	if (r->major >= 0) {
		jumps[n_jumps++] = n;
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (int32_t)r->major);
	}
	if (r->minor >= 0) {
		jumps[n_jumps++] = n;
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (int32_t)r->minor);
	}
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, r->allow);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (unsigned i = 0; i < n_jumps; i++)
		p[jumps[i]].off = (int16_t)(n - jumps[i] - 1);
	*ret_always = n_jumps == 0;
	return n;
}

static unsigned program(struct bpf_insn *p, const struct oci_resources *r)
{
	bool done = false;
	unsigned n = 0;

	// struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }: type in the low half, access in the high one.
	p[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, 0, 0);
	p[n++] = insn(BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	p[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_3, BPF_REG_1, 0, 0);
	p[n++] = insn(BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	p[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, 4, 0);
	p[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, 8, 0);
	for (unsigned i = sizeof(always) / sizeof(*always); i-- > 0;)
		n += rule(p + n, &always[i], &done);
	// The last rule that matches counts. After one that always does there is nothing more, nor would the verifier have it.
	for (size_t i = r->n_devices; i-- > 0 && !done;)
		n += rule(p + n, &r->devices[i], &done);
	if (done)
		return n;
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

int devices_filter(int cgroup_fd, const struct oci_resources *r, struct err *e)
{
	struct bpf_insn *p AUTO_FREE = NULL;
	int fd AUTO_CLOSE = -1;
	union bpf_attr a;

	if (r->n_devices > RULES_MAX)
		return err_set(e, E2BIG, "linux.resources.devices: more than %d rules", RULES_MAX);
	p = calloc((r->n_devices + 16) * INSNS_PER_RULE + 16, sizeof(*p));
	if (!p)
		return err_errno(e, ENOMEM, "linux.resources.devices");
	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	a.insn_cnt = program(p, r);
	a.insns = (uintptr_t)p;
	a.license = (uintptr_t) "Apache-2.0";
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a));
	if (fd < 0)
		return err_errno(e, errno, "linux.resources.devices: loading the BPF program");
	memset(&a, 0, sizeof(a));
	a.target_fd = (uint32_t)cgroup_fd;
	a.attach_bpf_fd = (uint32_t)fd;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI;
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &a, sizeof(a)) < 0)
		return err_errno(e, errno, "linux.resources.devices: attaching the BPF program");
	return 0;
}

// ---- nodes
static const struct oci_device defaults[] = {
	{ "/dev/null", 'c', 1, 3, { 0 }, { 0 }, { 0 } },
	{ "/dev/zero", 'c', 1, 5, { 0 }, { 0 }, { 0 } },
	{ "/dev/full", 'c', 1, 7, { 0 }, { 0 }, { 0 } },
	{ "/dev/tty", 'c', 5, 0, { 0 }, { 0 }, { 0 } },
	{ "/dev/random", 'c', 1, 8, { 0 }, { 0 }, { 0 } },
	{ "/dev/urandom", 'c', 1, 9, { 0 }, { 0 }, { 0 } },
};
static const char *const links[][2] = {
	{ "/proc/self/fd", "fd" },       { "/proc/self/fd/0", "stdin" },
	{ "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" },
	{ "/proc/kcore", "core" },       { "pts/ptmx", "ptmx" },
};

static int node(int root, const struct oci_device *d, struct err *e)
{
	mode_t type = d->type == 'b'   ? S_IFBLK
		      : d->type == 'p' ? S_IFIFO
				       : S_IFCHR,
	       mode = d->file_mode.set ? d->file_mode.v & 07777 : 0666;
	const char *slash = strrchr(d->path, '/');
	char parent[4096];
	int dir AUTO_CLOSE = -1;
	struct stat st;

	if (!slash || !slash[1])
		return err_set(e, EINVAL, "linux.devices: %s: not a path of a device", d->path);
	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - d->path),
		       d->path); // paths are at most 4095 bytes
	dir = rootfs_open(root, *parent ? parent : "/", ROOTFS_DIR, e);
	if (dir < 0)
		return dir;
	if (mknodat(dir, slash + 1, type | mode, makedev(d->major, d->minor)) < 0) {
		if (errno != EEXIST || fstatat(dir, slash + 1, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(e, errno, "linux.devices: %s: mknod", d->path);
		if ((st.st_mode & S_IFMT) != type ||
		    (type != S_IFIFO && st.st_rdev != makedev(d->major, d->minor)))
			return err_set(e, EEXIST,
				       "linux.devices: %s: is there already, and is something else",
				       d->path);
		return 0;
	}
	if (fchmodat(dir, slash + 1, mode, 0) < 0 ||
	    fchownat(dir, slash + 1, d->uid.set ? d->uid.v : 0, d->gid.set ? d->gid.v : 0,
		     AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, errno, "linux.devices: %s", d->path);
	return 0;
}

int devices_make(int root, const struct oci_config *c, struct err *e)
{
	int dev AUTO_CLOSE = rootfs_open(root, "/dev", ROOTFS_DIR, e);
	int r = dev < 0 ? dev : 0;

	for (unsigned i = 0; r == 0 && i < sizeof(defaults) / sizeof(*defaults); i++)
		r = node(root, &defaults[i], e);
	for (size_t i = 0; r == 0 && i < c->lin.n_devices; i++)
		r = node(root, &c->lin.devices[i], e);
	for (unsigned i = 0; r == 0 && i < sizeof(links) / sizeof(*links); i++)
		if (symlinkat(links[i][0], dev, links[i][1]) < 0 && errno != EEXIST)
			r = err_errno(e, errno, "/dev/%s", links[i][1]);
	return r;
}
