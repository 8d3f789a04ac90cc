// SPDX-License-Identifier: Apache-2.0
// What a VMM has asked to see: installed intercepts, and the messages that tell it.
#ifndef VMM_SOFT_INTERCEPT_H
#define VMM_SOFT_INTERCEPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv/mshv_abi.h"
#include "vmm/x86/x86.h"

struct soft_partition;
struct soft_vp;

enum { SOFT_INTERCEPTS = 32 };

struct soft_intercept {
	_Atomic uint32_t key, mask;
};
// Read by running processors while one is added: a slot is filled before the count says so.
struct soft_intercepts {
	_Atomic uint32_t exceptions;  // by vector
	_Atomic uint32_t unknown_msr; // access mask
	struct soft_intercept msr[SOFT_INTERCEPTS], cpuid[SOFT_INTERCEPTS];
	_Atomic unsigned n_msr, n_cpuid;
};

int soft_intercept_install(struct soft_partition *p, uint32_t type, uint32_t mask,
			   uint64_t parameter); // HV_STATUS; p->lock is held
bool soft_intercept_msr(const struct soft_partition *p, uint32_t msr, bool write);
bool soft_intercept_cpuid(const struct soft_partition *p, uint32_t leaf);

// ---- message.c: fills *m and the register page for an exit of the processor, or for one of the VP's own notices.
void soft_message_exit(struct soft_vp *vp, const struct x86_exit *ex, struct hv_message *m);
// False: there is nothing to tell.
bool soft_message_notice(struct soft_vp *vp, struct hv_message *m);
// The processor's state may run, as far as its registers say; otherwise *m tells.
bool soft_message_valid(struct soft_vp *vp, struct hv_message *m);
void soft_page_out(struct soft_vp *vp, const struct x86_state *s);
void soft_page_in(struct soft_vp *vp);
// The page's changes that the VMM has marked, into *s.
void soft_page_apply(const struct soft_vp *vp, struct x86_state *s);
void soft_page_refresh(struct soft_vp *vp, const struct x86_state *s);
int soft_eoi_take(struct soft_vp *vp); // vp.c: a vector, or -1

#endif
