// SPDX-License-Identifier: Apache-2.0
// Fuzz target: frames against an egress policy, both ways. The input is a list of frames: a byte of flags, two of length and
// the frame, which the longest that fits follows. A frame that leaves has the interface's MAC and none of the tags.
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "vmm/virtio/egress.h"

enum { FLAG_IN = 1, FLAG_SUM = 2, FLAG_MAC = 4, FRAME_HEAD = 3 };

static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
static const char policy[] = "address 10.0.0.2\naddress fd00::2\nresolver 10.0.0.53\n"
			     "allow tcp 192.0.2.0 24 80 443\nallow icmp 192.0.2.1 32 0 0\n"
			     "name tcp web.example.org 443 443\nname any *.a 0 65535\n";

static void leaves(const uint8_t *frame, size_t len)
{
	if (len < 14 || memcmp(frame + 6, mac, 6) != 0 || (frame[12] == 0x81 && frame[13] == 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char reason[EGRESS_REASON_BYTES];
	struct egress *g;
	struct err e;

	// As a policy first, then as frames.
	if (egress_new((const char *)data, size, mac, &g, &e) == 0)
		egress_free(g);
	if (egress_new(policy, strlen(policy), mac, &g, &e) < 0)
		abort();
	for (int64_t now = 1; size >= FRAME_HEAD; now++) {
		size_t len = (size_t)data[1] << 8 | data[2];
		struct egress_sum sum = { 34, 50 };
		uint8_t flags = data[0], *frame;

		data += FRAME_HEAD;
		size -= FRAME_HEAD;
		len = len < size ? len : size;
		frame = malloc(len ? len : 1); // its own, so that a sanitizer sees the end
		if (!frame)
			break;
		memcpy(frame, data, len);
		if (flags & FLAG_MAC && len >= 12)
			memcpy(frame + 6, mac, 6);
		if (flags & FLAG_IN)
			egress_in(g, frame, len, now);
		else if (egress_out(g, frame, len, flags & FLAG_SUM ? &sum : NULL, now, reason))
			leaves(frame, len);
		free(frame);
		data += len;
		size -= len;
	}
	egress_free(g);
	return 0;
}
