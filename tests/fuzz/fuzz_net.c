// SPDX-License-Identifier: Apache-2.0
// Fuzz target: virtio-net's rings, headers and control queue as the guest writes them, and the frames of a peer.
// The input is a list of steps: an opcode, then what it takes.
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "tests/unit/net_rig.h"

enum { STEP_DESC, STEP_OFFER, STEP_KICK, STEP_DATA, STEP_PEER, STEP_REGISTER, STEP_DRIVE, STEPS };

struct input {
	const uint8_t *p;
	size_t left;
};

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
		v |= (uint64_t)*in->p++ << (8 * i);
	return v;
}

// A frame behind its length, or bytes as they come.
static void peer_step(struct rig *r, int peer, struct input *in)
{
	uint8_t sink[4096], frame[4 + 14 + 3 * 256] = { 0 };
	bool framed = take(in, 1) & 1;
	size_t n = 14 + 3 * (size_t)take(in, 1);

	frame[2] = (uint8_t)(n >> 8);
	frame[3] = (uint8_t)n;
	if (!framed) {
		n = n < in->left ? n : in->left;
		memcpy(frame, in->p, n);
		in->p += n;
		in->left -= n;
	}
	(void)send(peer, frame, framed ? 4 + n : n, MSG_DONTWAIT | MSG_NOSIGNAL); // full is fine
	while (recv(peer, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
	rig_turn(r);
}

static void step(struct rig *r, int peer, struct input *in)
{
	unsigned what = take(in, 1) % STEPS, q = take(in, 1) % 3, at = take(in, 1) % RIG_RING;

	switch (what) {
	case STEP_DESC: {
		uint32_t len = (uint32_t)take(in, 3) % (RIG_BUF + 64); // also past its buffer
		uint16_t flags = (uint16_t)take(in, 1);

		rig_desc(r, q, at, len, flags, (uint16_t)take(in, 1));
		break;
	}
	case STEP_OFFER:
		rig_offer(r, q, (uint16_t)take(in, 1));
		break;
	case STEP_KICK:
		rig_kick(r, q);
		break;
	case STEP_DATA: {
		uint8_t *to = rig_buf(r, q, at);

		for (unsigned n = take(in, 1) % 32; n && in->left; n--)
			*to++ = (uint8_t)take(in, 1);
		break;
	}
	case STEP_PEER:
		peer_step(r, peer, in);
		break;
	case STEP_REGISTER: {
		uint64_t reg = take(in, 1) * 4;

		rig_write(r, reg, (uint32_t)take(in, 4));
		rig_turn(r);
		break;
	}
	default:
		rig_drive(r, take(in, 3), 3);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct net_port *port;
	struct rig r;
	struct err e;
	int pair[2];

	log_init(NULL, -1, LOG_TEXT, LOG_ERROR); // a hostile driver's warnings would be thousands
	rig_open(&r);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
	    net_stream_new(pair[0], &port, &e) || rig_plug(&r, port, &e))
		abort();
	rig_drive(&r, take(&in, 3), 3);
	while (in.left)
		step(&r, pair[1], &in);
	rig_close(&r);
	(void)close(pair[1]);
	return 0;
}
