// SPDX-License-Identifier: Apache-2.0
// The egress policy of one interface: judges the frames that leave the guest. Pure: bytes in, verdict out.
//
// The text of a policy, a rule a line, addresses as inet_pton takes them, ports from and to (inclusive):
//   allow PROTOCOL ADDRESS PREFIX FROM TO   PROTOCOL: tcp, udp, icmp (echo; ports 0 0) or any
//   name PROTOCOL NAME FROM TO              addresses that a resolver gave for NAME; *.NAME is what ends in .NAME
//   resolver ADDRESS                        queries for allowed names, over UDP to port 53, and nothing else on it
//   address ADDRESS                         the guest's own; with one, none but these may be a source
#ifndef VMM_VIRTIO_EGRESS_H
#define VMM_VIRTIO_EGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/vmm.h"

struct err;
struct egress;

enum {
	EGRESS_LOOK_BYTES = 1024, // all that is looked at of a frame from the guest
	EGRESS_TEXT_MAX = VMM_EGRESS_BYTES_MAX,
	EGRESS_RULES_MAX = 256, // of each kind
	EGRESS_REASON_BYTES = 384
};

// mac: the interface's. *ret is the caller's. An error names the line.
int egress_new(const char *text, size_t len, const uint8_t mac[6], struct egress **ret,
	       struct err *e);
void egress_free(struct egress *g);

// Whether a frame of `len` bytes may leave; frame: private memory with the first of them, EGRESS_LOOK_BYTES or all. sum: where
// the host is to sum from and to store a checksum (virtio 1.2, 5.1.6.2), or NULL. If not, reason says why and to where, in
// printable ASCII.
struct egress_sum {
	size_t from, to;
};
bool egress_out(struct egress *g, const uint8_t *frame, size_t len, const struct egress_sum *sum,
		int64_t now_ns, char reason[EGRESS_REASON_BYTES]);
// A frame that comes in, whole and in private memory: an answer to a query that was let through opens addresses.
void egress_in(struct egress *g, const uint8_t *frame, size_t len, int64_t now_ns);

#endif
