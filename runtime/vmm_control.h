// SPDX-License-Identifier: Apache-2.0
// What supervisor and bulkhead-vmm say to each other over --control-fd, a SOCK_SEQPACKET socket: one struct a message.
// End of stream on either side means that the other has gone.
#ifndef RUNTIME_VMM_CONTROL_H
#define RUNTIME_VMM_CONTROL_H

#include <stdint.h>

enum vmm_control_type {
	VMM_CONTROL_GET_COUNTERS = 1, // to the VMM: answered by COUNTERS, in order
	VMM_CONTROL_STOP = 2,         // to the VMM: end now; answered by END
	VMM_CONTROL_PLUG_NET = 3, // to the VMM, with the descriptors; answered by PLUGGED, in order
	VMM_CONTROL_STARTED = 16, // from the VMM: the guest is about to be entered
	VMM_CONTROL_COUNTERS = 17,
	VMM_CONTROL_VCPUS = 19, // after STARTED: the threads that run the guest
	VMM_CONTROL_PLUGGED = 20,
	VMM_CONTROL_NET_GONE = 21, // an interface's other end has gone: its link is down for good
	VMM_CONTROL_END = 18,      // the last message: why the guest ended
};

enum {
	VMM_CONTROL_VCPUS_MAX = 64,
	VMM_CONTROL_REASONS = 24,
	VMM_CONTROL_REASON_BYTES = 24,
	VMM_CONTROL_TEXT_BYTES = 512
};

struct vmm_control_counters {
	uint64_t instructions, doorbells, interrupts;
	uint32_t n_intercepts, padding;
	struct {
		char reason[VMM_CONTROL_REASON_BYTES]; // NUL-terminated
		uint64_t count;
	} intercepts[VMM_CONTROL_REASONS];
};

struct vmm_control_vcpus {
	uint32_t n;
	int32_t tids[VMM_CONTROL_VCPUS_MAX]; // Linux thread ids
};

enum vmm_control_net_kind {
	VMM_CONTROL_NET_TAP =
		0, // one descriptor a pair of queues: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
	VMM_CONTROL_NET_STREAM = 1 // one: a connected stream socket of passt
};
struct vmm_control_net {
	uint32_t kind;
	uint8_t mac[6];
	uint16_t mtu;
	uint32_t offloads; // 1: checksums and segmentation of a tap are offered to the guest
	uint32_t
		egress; // 1: one more descriptor, the last, is a file with the text of a policy (vmm/virtio/egress.h)
};

struct vmm_control_net_answer { // PLUGGED, NET_GONE
	uint32_t slot;
	int32_t error;                     // PLUGGED: 0, or an errno
	char text[VMM_CONTROL_TEXT_BYTES]; // NUL-terminated
};

struct vmm_control_msg {
	uint32_t type, end; // end: enum vmm_end, in END
	int64_t now_ns;     // CLOCK_MONOTONIC of the sender
	union {
		struct vmm_control_counters counters;
		struct vmm_control_vcpus vcpus;
		struct vmm_control_net net;
		struct vmm_control_net_answer net_answer;
		char text
			[VMM_CONTROL_TEXT_BYTES]; // END; in STARTED the hypervisor's name. NUL-terminated
	} u;
};

#endif
