// SPDX-License-Identifier: Apache-2.0
// The header before each of the guest's frames, held against what was negotiated (virtio 1.2, 5.1.6.2). Pure.
#ifndef VMM_VIRTIO_NET_HEADER_H
#define VMM_VIRTIO_NET_HEADER_H

#include <stdint.h>

#include "vmm/virtio/net.h"

enum { NET_HDR_NEEDS_CSUM = 1 };
enum {
	NET_GSO_NONE = 0,
	NET_GSO_TCPV4 = 1,
	NET_GSO_UDP = 3,
	NET_GSO_TCPV6 = 4,
	NET_GSO_UDP_L4 = 5,
	NET_GSO_ECN = 0x80
};
enum net_verdict { NET_FRAME_GOOD, NET_FRAME_MALFORMED, NET_FRAME_OVERSIZED };

// h is a private copy, and is left with only what the port may see.
enum net_verdict net_header_check(struct net_header *h, size_t frame_len, uint64_t features,
				  uint16_t mtu);

#endif
