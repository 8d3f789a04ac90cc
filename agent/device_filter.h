// SPDX-License-Identifier: Apache-2.0
// The BPF program of a cgroup that says which devices may be used.
#ifndef AGENT_DEVICE_FILTER_H
#define AGENT_DEVICE_FILTER_H

struct bpf_insn;
struct err;
struct oci_resources;

enum { DEVICE_RULES_MAX = 300 };

// As many instructions as device_filter_program writes at most for n rules.
#define DEVICE_FILTER_INSNS(n) (((n) + 16) * 12 + 16)
// Writes the program for r->devices to p and returns its length.
unsigned device_filter_program(struct bpf_insn *p, const struct oci_resources *r);

// Loads the program and attaches it to the group, in the place of *prog if that is one (-1: none), with no moment between
// them. *prog is owned by the caller, and is the new one only on success.
int device_filter_attach(int group, const struct oci_resources *r, int *prog, struct err *e);

#endif
