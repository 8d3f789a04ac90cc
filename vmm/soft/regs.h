// SPDX-License-Identifier: Apache-2.0
// Registers of a VP by their Hyper-V names. The caller has entered the VP (soft_vp_enter).
#ifndef VMM_SOFT_REGS_H
#define VMM_SOFT_REGS_H

#include <stdint.h>

#include "vmm/hv/mshv_abi.h"
#include "vmm/x86/x86.h"

struct soft_vp;

// HV_STATUS; *done says how many were good before the first that was not.
int soft_registers_get(struct soft_vp *vp, const uint32_t *names, union hv_register_value *values,
		       unsigned n, uint16_t *done);
int soft_registers_set(struct soft_vp *vp, const struct hv_register_assoc *regs, unsigned n,
		       uint16_t *done);

// ---- regs_hv.c: those that are no plain part of the processor's state. Changes of that go to *s.
int soft_hv_register_get(struct soft_vp *vp, const struct x86_state *s, uint32_t name,
			 union hv_register_value *v);
int soft_hv_register_set(struct soft_vp *vp, struct x86_state *s, uint32_t name,
			 const union hv_register_value *v);
uint64_t soft_pending_interruption(struct soft_vp *vp); // hv_x64_pending_interruption_register

#endif
