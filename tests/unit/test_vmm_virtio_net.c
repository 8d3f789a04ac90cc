// SPDX-License-Identifier: Apache-2.0
// virtio-net over a socket and over a real tap: both directions, and what a hostile guest or peer does.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/unit/net_rig.h"
#include "vmm/nets.h"
#include "vmm/virtio/net_header.h"

enum { RX = 0, TX = 1, CTRL = 2, NEXT = 1, WRITE = 2, FRAME = 100 };

static void plug_stream(struct rig *r, int *ret_peer, uint64_t features)
{
	struct net_port *port;
	struct err e = { 0 };
	int pair[2];

	rig_open(r);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	assert_int_equal(net_stream_new(pair[0], &port, &e), 0);
	assert_int_equal(rig_plug(r, port, &e), 0);
	*ret_peer = pair[1];
	rig_drive(r, features, 3);
}

static void peer_frame(int peer, uint32_t len, uint8_t fill)
{
	uint8_t buf[4 + 2000];
	uint32_t be = htonl(len);

	memcpy(buf, &be, 4);
	memset(buf + 4, fill, len);
	assert_int_equal(write(peer, buf, 4 + len), 4 + len);
}

static void test_slot(void **state)
{
	struct rig r;
	struct net_port *port;
	struct err e = { 0 };
	int pair[2];

	(void)state;
	rig_open(&r);
	assert_int_equal(rig_read(&r, 0), 0x74726976);
	assert_int_equal(rig_read(&r, 4), 2);
	assert_int_equal(rig_read(&r, 8), 0); // nothing yet
	rig_write(&r, 0x70, 15);
	assert_int_equal(rig_read(&r, 0x70), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		assert_int_equal(net_stream_new(pair[0], &port, &e), 0);
		assert_int_equal(rig_plug(&r, port, &e), i ? -EBUSY : 0);
		assert_int_equal(rig_read(&r, 8), 1);
		(void)close(pair[1]);
	}
	assert_int_equal(rig_read(&r, 0x100), 0x00000002); // the MAC, little-endian
	assert_int_equal(rig_read(&r, 0x108) & 0xffff, 1); // pairs
	assert_int_equal(rig_read(&r, 0x108) >> 16, 1500); // mtu
	rig_close(&r);
}

static void test_out(void **state)
{
	struct rig r;
	int peer;
	uint8_t got[256];
	uint32_t be;

	(void)state;
	plug_stream(&r, &peer, 0);
	memset(rig_buf(&r, TX, 0), 0, 5); // the header is cut, and the frame is
	memset(rig_buf(&r, TX, 1), 0, 7 + 40);
	memset(rig_buf(&r, TX, 1) + 7, 'a', 40);
	memset(rig_buf(&r, TX, 2), 'b', 60);
	rig_desc(&r, TX, 0, 5, NEXT, 1);
	rig_desc(&r, TX, 1, 7 + 40, NEXT, 2);
	rig_desc(&r, TX, 2, 60, 0, 0);
	rig_offer(&r, TX, 0);
	rig_kick(&r, TX);
	assert_int_equal(rig_used(&r, TX), 1);
	assert_int_equal(read(peer, got, sizeof(got)), 4 + FRAME);
	memcpy(&be, got, 4);
	assert_int_equal(ntohl(be), FRAME);
	assert_int_equal(got[4], 'a');
	assert_int_equal(got[4 + 39], 'a');
	assert_int_equal(got[4 + 40], 'b');
	assert_int_equal(got[4 + 99], 'b');
	(void)close(peer);
	rig_close(&r);
}

static void test_in_mergeable(void **state)
{
	struct rig r;
	int peer;
	uint16_t count;

	(void)state;
	plug_stream(&r, &peer, NET_F_MRG_RXBUF);
	peer_frame(peer, FRAME, 'x'); // before there is a buffer
	rig_turn(&r);
	assert_int_equal(rig_used(&r, RX), 0);
	for (uint16_t i = 0; i < RIG_RING; i++) {
		rig_desc(&r, RX, i, 50, WRITE, 0);
		rig_offer(&r, RX, i);
	}
	rig_kick(&r, RX); // all of the ring holds less than the longest frame: used all the same
	assert_int_equal(rig_used(&r, RX), 3);
	assert_int_equal(rig_used_len(&r, RX, 0), 50);
	assert_int_equal(rig_used_len(&r, RX, 1), 50);
	assert_int_equal(rig_used_len(&r, RX, 2), 12);
	memcpy(&count, rig_buf(&r, RX, 0) + 10, 2);
	assert_int_equal(count, 3);
	assert_int_equal(rig_buf(&r, RX, 0)[12], 'x');
	assert_int_equal(rig_buf(&r, RX, 2)[11], 'x');
	assert_int_equal(rig_buf(&r, RX, 2)[12], 0);
	// The rest is in the device's hands, 13 buffers; three come back and the next frame fits.
	for (uint16_t i = 0; i < 3; i++)
		rig_offer(&r, RX, i);
	peer_frame(peer, 14, 'y');
	rig_kick(&r, RX);
	assert_int_equal(rig_used(&r, RX), 4);
	assert_int_equal(rig_used_len(&r, RX, 3), 26);
	(void)close(peer);
	rig_close(&r);
}

static void test_in_exhausted(void **state)
{
	struct rig r;
	int peer;

	(void)state;
	plug_stream(&r, &peer, 0);
	for (uint16_t i = 0; i < 2; i++) {
		rig_desc(&r, RX, i, 2000, WRITE, 0);
		rig_offer(&r, RX, i);
	}
	for (uint8_t i = 0; i < 5; i++)
		peer_frame(peer, FRAME, i);
	rig_kick(&r, RX);
	assert_int_equal(rig_used(&r, RX), 2); // the others wait; none is lost
	for (uint8_t i = 2; i < 5; i++) {
		rig_offer(&r, RX, i % 2);
		rig_kick(&r, RX);
		assert_int_equal(rig_used(&r, RX), i + 1);
		assert_int_equal(rig_buf(&r, RX, i % 2)[12], i);
	}
	(void)close(peer);
	rig_close(&r);
}

// A peer that does not read: frames wait in the ring, and arrive whole and in order when it does.
static void test_out_blocked(void **state)
{
	struct rig r;
	static uint8_t got[1u << 22];
	size_t have = 0, at = 0;
	unsigned sent = 0, seen = 0;
	int peer;

	(void)state;
	plug_stream(&r, &peer, 0);
	rig_desc(&r, TX, 0, 12 + 1500, 0, 0);
	memset(rig_buf(&r, TX, 0), 0, 12);
	while (sent < 2000 && rig_used(&r, TX) == sent) {
		memset(rig_buf(&r, TX, 0) + 12, (int)(sent & 0xff), 1500);
		rig_offer(&r, TX, 0);
		rig_kick(&r, TX);
		sent++;
	}
	assert_true(sent < 2000); // one was not taken
	for (int idle = 0; idle < 20;) {
		ssize_t n = read(peer, got + have, sizeof(got) - have);

		idle = n > 0 ? 0 : idle + 1;
		have += n > 0 ? (size_t)n : 0;
		rig_turn(&r);
	}
	assert_int_equal(rig_used(&r, TX), sent);
	assert_int_equal(have, sent * 1504u);
	for (; at < have; at += 1504, seen++)
		assert_int_equal(got[at + 4], seen & 0xff);
	assert_int_equal(seen, sent);
	(void)close(peer);
	rig_close(&r);
}

static void test_bad_chains(void **state)
{
	struct rig r;
	int peer;
	char c;
	struct vmm_net_counters out, in;

	(void)state;
	plug_stream(&r, &peer, 0);
	memset(rig_buf(&r, TX, 0), 0, 2000);
	memset(rig_buf(&r, TX, 1), 0, RIG_BUF);
	rig_desc(&r, TX, 0, 5, 0, 0); // no whole header
	rig_offer(&r, TX, 0);
	rig_desc(&r, TX, 2, 12, 0, 0); // no frame
	rig_offer(&r, TX, 2);
	rig_desc(&r, TX, 3, 100, NEXT, 4); // a part to write to
	rig_desc(&r, TX, 4, 100, WRITE, 0);
	rig_offer(&r, TX, 3);
	rig_desc(&r, TX, 1, RIG_BUF, 0, 0); // longer than any
	rig_offer(&r, TX, 1);
	rig_kick(&r, TX);
	assert_int_equal(rig_used(&r, TX), 4); // given back, and nothing sent
	assert_int_equal(read(peer, &c, 1), -1);
	virtio_net_counters(r.dev, &out, &in);
	assert_int_equal(out.malformed, 3);
	assert_int_equal(out.oversized, 1);
	assert_int_equal(out.frames, 0);
	rig_desc(&r, CTRL, 0, 4, NEXT, 1); // more pairs than there are
	rig_desc(&r, CTRL, 1, 1, WRITE, 0);
	memcpy(rig_buf(&r, CTRL, 0), "\4\0\2", 4);
	rig_offer(&r, CTRL, 0);
	rig_kick(&r, CTRL);
	assert_int_equal(rig_buf(&r, CTRL, 1)[0], 1);
	rig_desc(&r, RX, 0, 100, 0, 0); // a receive buffer that cannot be written to
	rig_offer(&r, RX, 0);
	rig_kick(&r, RX);
	assert_int_equal(rig_used(&r, RX), 1);
	assert_int_equal(rig_used_len(&r, RX, 0), 0);
	rig_desc(&r, TX, 0, 100, NEXT, 0); // a loop breaks the queue
	rig_offer(&r, TX, 0);
	rig_kick(&r, TX);
	assert_true(rig_read(&r, 0x70) & 64);
	(void)close(peer);
	rig_close(&r);
}

static void test_peer_ends(void **state)
{
	static const uint32_t lengths[] = { 0, 13, NET_FRAME_MAX + 1, UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		uint32_t be = i < 4 ? htonl(lengths[i]) : 0;
		struct rig r;
		uint64_t raised;
		int peer;

		plug_stream(&r, &peer, NET_F_STATUS);
		assert_int_equal(rig_read(&r, 0x104) >> 16, 1); // link up
		rig_desc(&r, RX, 0, 2000, WRITE, 0);
		rig_offer(&r, RX, 0);
		rig_kick(&r, RX);
		if (i < 4)
			assert_int_equal(write(peer, &be, 4), 4);
		else
			(void)close(peer);
		rig_turn(&r);
		assert_int_equal(r.gone, 1);
		assert_int_equal(rig_read(&r, 0x104) >> 16, 0);
		assert_true(rig_read(&r, 0x60) & 2);
		assert_int_equal(read(r.irq, &raised, 8), 8);
		rig_kick(&r, TX); // a dead port is no trouble
		rig_drive(&r, NET_F_STATUS, 3);
		rig_kick(&r, RX);
		assert_int_equal(r.gone, 1);
		assert_int_equal(rig_read(&r, 0x70), 15);
		if (i < 4)
			(void)close(peer);
		rig_close(&r);
	}
}

static void test_header(void **state)
{
	enum { ALL = 1, NOTHING = 0 };
	static const struct {
		struct net_header h;
		size_t len;
		int features;
		enum net_verdict verdict;
	} cases[] = {
		{ { 0 }, 14, NOTHING, NET_FRAME_GOOD },
		{ { 0 }, 13, NOTHING, NET_FRAME_MALFORMED },
		{ { 0 }, 1518, NOTHING, NET_FRAME_GOOD },
		{ { 0 }, 1519, NOTHING, NET_FRAME_OVERSIZED },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 16 }, 60, ALL, NET_FRAME_GOOD },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 16 },
		  60,
		  NOTHING,
		  NET_FRAME_MALFORMED },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 16 },
		  51,
		  ALL,
		  NET_FRAME_MALFORMED },
		{ { .flags = 1, .csum_start = 13, .csum_offset = 16 },
		  60,
		  ALL,
		  NET_FRAME_MALFORMED },
		{ { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff },
		  60,
		  ALL,
		  NET_FRAME_MALFORMED },
		{ { 1, 1, 54, 1448, 34, 16, 0 }, 60000, ALL, NET_FRAME_GOOD },
		{ { 1, 0x81, 54, 1448, 34, 16, 0 }, 60000, ALL, NET_FRAME_GOOD },
		{ { 1, 4, 54, 1448, 34, 16, 0 }, 60000, ALL, NET_FRAME_GOOD },
		{ { 1, 1, 54, 1448, 34, 16, 0 }, 60000, NOTHING, NET_FRAME_MALFORMED },
		{ { 1, 1, 54, 0, 34, 16, 0 }, 60000, ALL, NET_FRAME_MALFORMED },
		{ { 0, 1, 54, 1448, 34, 16, 0 }, 60000, ALL, NET_FRAME_MALFORMED },
		{ { 1, 1, 33, 1448, 34, 16, 0 }, 60000, ALL, NET_FRAME_MALFORMED },
		{ { 1, 1, 0xffff, 1448, 34, 16, 0 }, 60000, ALL, NET_FRAME_MALFORMED },
		{ { 1, 1, 54, 1448, 34, 16, 0 }, NET_FRAME_MAX + 1, ALL, NET_FRAME_OVERSIZED },
		{ { 1, 3, 54, 1448, 34, 6, 0 }, 60000, ALL, NET_FRAME_MALFORMED }, // UFO
		{ { 1, 5, 54, 1448, 34, 6, 0 }, 60000, ALL, NET_FRAME_MALFORMED }, // USO
		{ { 1, 0x80, 54, 1448, 34, 6, 0 }, 60, ALL, NET_FRAME_MALFORMED },
		{ { 1, 2, 54, 1448, 34, 6, 0 }, 60, ALL, NET_FRAME_MALFORMED },
	};
	uint64_t all = NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct net_header h = cases[i].h;
		enum net_verdict v =
			net_header_check(&h, cases[i].len, cases[i].features ? all : 0, 1500);

		if (v != cases[i].verdict)
			fail_msg("case %u: %d, not %d", i, v, cases[i].verdict);
	}
}

// ---- a real tap
static int tap_open(const char *name, short flags)
{
	struct ifreq q = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags) };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	(void)snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", name); // fits
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &q) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

// A packet socket on the tap, in a network namespace of this process's own; -1: this machine has no taps for us.
static int tap_setup(int fds[2])
{
	struct ifreq q = { .ifr_name = "bh0" };
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(0x88b5) };
	int sock, fd = unshare(CLONE_NEWNET) < 0 ? -1 : open("/proc/self/ns/net", O_RDONLY);

	if (fd < 0)
		return -1;
	(void)close(fd);
	fds[0] = tap_open("bh0", IFF_MULTI_QUEUE);
	fds[1] = fds[0] < 0 ? -1 : tap_open("bh0", IFF_MULTI_QUEUE);
	if (fds[1] < 0)
		return -1;
	sock = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	assert_true(sock >= 0);
	assert_int_equal(ioctl(sock, SIOCGIFFLAGS, &q), 0);
	q.ifr_flags |= IFF_UP;
	assert_int_equal(ioctl(sock, SIOCSIFFLAGS, &q), 0);
	at.sll_ifindex = (int)if_nametoindex("bh0");
	assert_int_equal(bind(sock, (struct sockaddr *)&at, sizeof(at)), 0);
	return sock;
}

static const uint8_t ether[14] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x88, 0xb5
};

static void tap_both_ways(struct rig *r, int sock)
{
	uint8_t got[256], frame[FRAME];
	struct pollfd p = { .fd = sock, .events = POLLIN };
	uint16_t was;
	bool found = false;

	memcpy(frame, ether, sizeof(ether));
	memset(frame + 14, 'o', FRAME - 14);
	memset(rig_buf(r, TX, 0), 0, 12);
	memcpy(rig_buf(r, TX, 0) + 12, frame, FRAME);
	rig_desc(r, TX, 0, 12 + FRAME, 0, 0);
	was = rig_used(r, TX);
	rig_offer(r, TX, 0);
	rig_kick(r, TX);
	assert_int_equal((uint16_t)(rig_used(r, TX) - was), 1);
	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(recv(sock, got, sizeof(got), 0), FRAME);
	assert_memory_equal(got, frame, FRAME);

	memset(frame + 14, 'i', FRAME - 14);
	assert_int_equal(send(sock, frame, FRAME, 0), FRAME);
	// The kernel sends frames of its own too (IPv6): ours is among them.
	for (unsigned tries = 0; tries < 200 && !found; tries++) {
		rig_turn(r);
		for (unsigned i = 0; i < rig_used(r, RX) && i < RIG_RING; i++)
			found |= memcmp(rig_buf(r, RX, i) + 12, frame, FRAME) == 0;
		(void)usleep(1000); // only so that the kernel has its turn
	}
	assert_true(found);
}

static void test_tap(void **state)
{
	struct rig r;
	struct net_port *port;
	struct err e = { 0 };
	int fds[2], sock = tap_setup(fds);

	(void)state;
	if (sock < 0) {
		print_message("no taps here: not tested\n");
		return;
	}
	rig_open(&r);
	assert_int_equal(net_tap_new(fds, 2, true, &port, &e), 0);
	assert_int_equal(rig_plug(&r, port, &e), 0);
	assert_int_equal(rig_read(&r, 0x108) & 0xffff, 2);
	rig_drive(&r,
		  NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_MQ | NET_F_CSUM | NET_F_GUEST_CSUM |
			  NET_F_GUEST_TSO4 | NET_F_HOST_TSO4,
		  5);
	for (uint16_t i = 0; i < RIG_RING; i++) {
		rig_desc(&r, RX, i, 70000, WRITE, 0);
		rig_offer(&r, RX, i);
	}
	rig_kick(&r, RX);
	tap_both_ways(&r, sock);
	// Two pairs, and one again.
	for (uint8_t n = 2; n; n--) {
		rig_desc(&r, 4, 0, 4, NEXT, 1);
		rig_desc(&r, 4, 1, 1, WRITE, 0);
		memcpy(rig_buf(&r, 4, 0), "\4\0\0", 4);
		rig_buf(&r, 4, 0)[2] = n;
		rig_buf(&r, 4, 1)[0] = 0xff;
		rig_offer(&r, 4, 0);
		rig_kick(&r, 4);
		assert_int_equal(rig_buf(&r, 4, 1)[0], 0);
	}
	tap_both_ways(&r, sock);
	assert_int_equal(r.gone, 0);
	rig_close(&r);
	(void)close(sock);
}

static void test_refused(void **state)
{
	struct rig r;
	struct vmm_nets *nets;
	struct err e = { 0 };
	unsigned slot;
	int pair[2];
	struct vmm_net net = { .kind = VMM_NET_STREAM, .mtu = 1500, .fds = pair, .n_fds = 1 };

	(void)state;
	rig_open(&r);
	assert_int_equal(vmm_nets_new(&r.host, &nets, &e), 0);
	for (unsigned i = 0; i < VMM_NETS_MAX; i++)
		assert_int_equal(vmm_nets_add_slot(nets, r.bus, 0xd0010000 + i * 0x1000ull,
						   (struct irq_line){ r.irq, 9 }, &e),
				 0);
	for (unsigned i = 0; i <= VMM_NETS_MAX; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		assert_int_equal(vmm_nets_plug(nets, &net, &slot, &e),
				 i < VMM_NETS_MAX ? 0 : -ENOSPC);
		if (i < VMM_NETS_MAX)
			assert_int_equal(slot, i);
		(void)close(pair[1]);
	}
	assert_string_equal(e.msg, "network interface: all 8 slots of the machine are taken");
	vmm_nets_free(nets);
	assert_int_equal(vmm_nets_new(&r.host, &nets, &e), 0);
	assert_int_equal(
		vmm_nets_add_slot(nets, r.bus, 0xd0030000, (struct irq_line){ r.irq, 9 }, &e), 0);
	net.kind = VMM_NET_TAP; // a socket is no tap
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_true(vmm_nets_plug(nets, &net, &slot, &e) < 0);
	(void)close(pair[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	net.kind = VMM_NET_STREAM;
	assert_int_equal(vmm_nets_plug(nets, &net, &slot, &e), -EINVAL);
	(void)close(pair[1]);
	net.n_fds = 0;
	assert_int_equal(vmm_nets_plug(nets, &net, &slot, &e), -EINVAL);
	net.mtu = 67;
	assert_int_equal(vmm_nets_plug(nets, &net, &slot, &e), -EINVAL);
	vmm_nets_free(nets);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slot),         cmocka_unit_test(test_out),
		cmocka_unit_test(test_in_mergeable), cmocka_unit_test(test_in_exhausted),
		cmocka_unit_test(test_out_blocked),  cmocka_unit_test(test_bad_chains),
		cmocka_unit_test(test_peer_ends),    cmocka_unit_test(test_header),
		cmocka_unit_test(test_refused),      cmocka_unit_test(test_tap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
