// SPDX-License-Identifier: Apache-2.0
#include "agent/device_filter.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

// needs CONFIG_CGROUP_BPF

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
	// What is asked for has to be allowed as a whole, and is denied as a whole for any part of it: opening for reading and
	// writing asks for both at once, and must not slip past a rule that denies one.
	if (access != 7) {
		p[n++] = insn(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		p[n++] = insn(BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0,
			      (int32_t)(r->allow ? 7 & ~access : access));
		jumps[n_jumps++] = n;
		p[n++] = insn(BPF_JMP | (r->allow ? BPF_JNE : BPF_JEQ) | BPF_K, BPF_REG_1, 0, 0, 0);
	}
	if (r->major >= 0) {
		jumps[n_jumps++] = n;
		p[n++] = insn(BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (int32_t)r->major);
	}
	if (r->minor >= 0) {
		jumps[n_jumps++] = n;
		p[n++] = insn(BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (int32_t)r->minor);
	}
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, r->allow);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (unsigned i = 0; i < n_jumps; i++)
		p[jumps[i]].off = (int16_t)(n - jumps[i] - 1);
	*ret_always = n_jumps == 0;
	return n;
}

unsigned device_filter_program(struct bpf_insn *p, const struct oci_resources *r)
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

static int load(const struct oci_resources *r, struct err *e)
{
	struct bpf_insn *p AUTO_FREE = NULL;
	union bpf_attr a;
	int fd;

	if (r->n_devices > DEVICE_RULES_MAX)
		return err_set(e, E2BIG, "linux.resources.devices: more than %d rules",
			       DEVICE_RULES_MAX);
	p = calloc(DEVICE_FILTER_INSNS(r->n_devices), sizeof(*p));
	if (!p)
		return err_errno(e, ENOMEM, "linux.resources.devices");
	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	a.insn_cnt = device_filter_program(p, r);
	a.insns = (uintptr_t)p;
	a.license = (uintptr_t) "Apache-2.0";
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a));
	return fd < 0 ? err_errno(e, errno, "linux.resources.devices: loading the BPF program")
		      : fd;
}

int device_filter_attach(int group, const struct oci_resources *r, int *prog, struct err *e)
{
	int fd AUTO_CLOSE = load(r, e);
	union bpf_attr a;

	if (fd < 0)
		return fd;
	memset(&a, 0, sizeof(a));
	a.target_fd = (uint32_t)group;
	a.attach_bpf_fd = (uint32_t)fd;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI | (*prog >= 0 ? BPF_F_REPLACE : 0u);
	a.replace_bpf_fd = *prog >= 0 ? (uint32_t)*prog : 0;
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &a, sizeof(a)) < 0)
		return err_errno(e, errno, "linux.resources.devices: attaching the BPF program");
	close_fd(*prog);
	*prog = take_fd(&fd);
	return 0;
}
