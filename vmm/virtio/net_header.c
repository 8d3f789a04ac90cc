// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/net_header.h"

enum { ETHERNET_BYTES = 14, VLAN_BYTES = 4, CHECKSUM_BYTES = 2 };

static bool gso_allowed(uint8_t type, uint64_t features)
{
	if ((type & NET_GSO_ECN) && !(features & NET_F_HOST_ECN))
		return false;
	switch (type & ~NET_GSO_ECN) {
	case NET_GSO_TCPV4:
		return features & NET_F_HOST_TSO4;
	case NET_GSO_TCPV6:
		return features & NET_F_HOST_TSO6;
	default:
		return false; // UDP is never offered
	}
}

enum net_verdict net_header_check(struct net_header *h, size_t frame_len, uint64_t features,
				  uint16_t mtu)
{
	bool csum = h->flags & NET_HDR_NEEDS_CSUM;

	if (frame_len < ETHERNET_BYTES)
		return NET_FRAME_MALFORMED;
	if (frame_len > NET_FRAME_MAX)
		return NET_FRAME_OVERSIZED;
	if (csum && (!(features & NET_F_CSUM) || h->csum_start < ETHERNET_BYTES ||
		     (size_t)h->csum_start + h->csum_offset + CHECKSUM_BYTES > frame_len))
		return NET_FRAME_MALFORMED;
	if (h->gso_type == NET_GSO_NONE) {
		if (frame_len > (size_t)mtu + ETHERNET_BYTES + VLAN_BYTES)
			return NET_FRAME_OVERSIZED;
		h->gso_size = h->hdr_len = 0;
	} else if (!gso_allowed(h->gso_type, features) || !csum || !h->gso_size ||
		   h->hdr_len > frame_len || h->hdr_len < h->csum_start) {
		return NET_FRAME_MALFORMED;
	}
	h->flags = csum ? NET_HDR_NEEDS_CSUM : 0; // the others have no meaning in this direction
	if (!csum)
		h->csum_start = h->csum_offset = 0;
	h->num_buffers = 0;
	return NET_FRAME_GOOD;
}
