// SPDX-License-Identifier: Apache-2.0
// Egress policies: their text, frames that may leave and frames that may not, and names that answers open.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "vmm/virtio/egress.h"

enum { ETH = 14, UDP = 17, TCP = 6 };
#define SECOND 1000000000ll

static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
static const char policy[] = "address 10.0.0.2\n"
			     "address fd00::2\n"
			     "resolver 10.0.0.53\n"
			     "allow tcp 192.0.2.0 24 80 443\n"
			     "allow icmp 192.0.2.1 32 0 0\n"
			     "allow udp fd00:1:: 33 1000 1000\n"
			     "name tcp web.example.org 443 443\n"
			     "name any *.Example.net 0 65535\n";

struct frame {
	uint8_t b[2048];
	size_t len;
};

static struct egress *open_policy(void)
{
	struct egress *g = NULL;
	struct err e = { 0 };

	assert_int_equal(egress_new(policy, strlen(policy), mac, &g, &e), 0);
	return g;
}

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

// A datagram or segment of `len` bytes behind its ports; the family is that of dst.
static struct frame packet(const char *src, const char *dst, uint8_t protocol, uint16_t from,
			   uint16_t to, const uint8_t *payload, size_t len)
{
	struct frame f = { .len = 0 };
	bool v4 = !strchr(dst, ':');
	uint8_t *ip = f.b + ETH, *p = ip + (v4 ? 20 : 40);
	size_t head = protocol == UDP ? 8 : 20;

	memcpy(f.b + 6, mac, 6);
	put16(f.b + 12, v4 ? 0x0800 : 0x86dd);
	if (v4) {
		ip[0] = 0x45;
		put16(ip + 2, 20 + head + len);
		ip[9] = protocol;
		assert_int_equal(inet_pton(AF_INET, src, ip + 12), 1);
		assert_int_equal(inet_pton(AF_INET, dst, ip + 16), 1);
	} else {
		ip[0] = 0x60;
		put16(ip + 4, head + len);
		ip[6] = protocol;
		ip[7] = 64;
		assert_int_equal(inet_pton(AF_INET6, src, ip + 8), 1);
		assert_int_equal(inet_pton(AF_INET6, dst, ip + 24), 1);
	}
	put16(p, from);
	put16(p + 2, to);
	if (protocol == UDP)
		put16(p + 4, head + len);
	if (payload)
		memcpy(p + head, payload, len);
	f.len = (size_t)(p - f.b) + head + len;
	return f;
}

static char why[EGRESS_REASON_BYTES];

static bool passes_at(struct egress *g, const struct frame *f, int64_t now)
{
	memset(why, 0, sizeof(why));
	return egress_out(g, f->b, f->len, NULL, now, why);
}

static bool tcp_passes(struct egress *g, const char *dst, uint16_t port, int64_t now)
{
	struct frame f =
		packet(strchr(dst, ':') ? "fd00::2" : "10.0.0.2", dst, TCP, 4000, port, NULL, 0);

	return passes_at(g, &f, now);
}

static void refused(struct egress *g, const struct frame *f, const char *want)
{
	assert_false(passes_at(g, f, SECOND));
	assert_non_null(strstr(why, want));
}

static void test_text(void **state)
{
	static const char *const bad[] = {
		"allow tcp 10.0.0.0 33 1 1\n",
		"allow tcp 10.0.0.0 8 2 1\n",
		"allow tcp 10.0.0.0 8 1 65536\n",
		"allow sctp 10.0.0.0 8 1 1\n",
		"allow tcp 10.0.0 8 1 1\n",
		"allow tcp ::ffff:1.2.3.4 128 1 1\n",
		"allow tcp fd00:: 129 1 1\n",
		"allow tcp 10.0.0.0 8 1 1 x\n",
		"name tcp a..b. 1 1\n",
		"name tcp * 1 1\n",
		"name tcp a/b 1 1\n",
		"resolver dns\n",
		"address \n",
		"else\n",
		"resolver 10.0.0.1",
		"\n",
	};
	struct egress *g = NULL;
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(egress_new(bad[i], strlen(bad[i]), mac, &g, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "line 1"));
	}
	assert_int_equal(egress_new("resolver ::1\nx\n", 15, mac, &g, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "line 2"));
	assert_int_equal(egress_new("resolver ::1\0\n", 14, mac, &g, &e), -EINVAL);
	assert_int_equal(egress_new("", EGRESS_TEXT_MAX + 1, mac, &g, &e), -E2BIG);
	g = open_policy();
	egress_free(g);
	// An empty policy lets nothing out.
	assert_int_equal(egress_new("", 0, mac, &g, &e), 0);
	assert_false(tcp_passes(g, "192.0.2.1", 80, SECOND));
	egress_free(g);
}

static void test_rules(void **state)
{
	struct egress *g = open_policy();
	struct frame f;

	(void)state;
	assert_true(tcp_passes(g, "192.0.2.1", 80, SECOND));
	assert_true(tcp_passes(g, "192.0.2.255", 443, SECOND));
	assert_false(tcp_passes(g, "192.0.2.1", 444, SECOND));
	assert_string_equal(why, "not allowed: to 192.0.2.1 protocol 6 port 444");
	assert_false(tcp_passes(g, "192.0.3.1", 80, SECOND));
	assert_false(tcp_passes(g, "::ffff:192.0.2.1", 80, SECOND));
	f = packet("10.0.0.2", "192.0.2.1", UDP, 1, 80, NULL, 0);
	refused(g, &f, "not allowed: to 192.0.2.1 protocol 17 port 80");
	f = packet("fd00::2", "fd00:1:7fff::1", UDP, 1, 1000, NULL, 0);
	assert_true(passes_at(g, &f, SECOND));
	f = packet("fd00::2", "fd00:1:8000::1", UDP, 1, 1000, NULL, 0);
	refused(g, &f, "not allowed: to fd00:1:8000::1");
	f = packet("10.0.0.3", "192.0.2.1", TCP, 1, 80, NULL, 0);
	refused(g, &f, "source");
	f = packet("10.0.0.2", "192.0.2.1", 1, 0, 0, NULL, 0);
	f.b[ETH + 20] = 8; // echo
	assert_true(passes_at(g, &f, SECOND));
	f.b[ETH + 20] = 5; // redirect
	refused(g, &f, "never");
	f = packet("10.0.0.2", "192.0.2.1", 47, 0, 80, NULL, 0);
	refused(g, &f, "never");
	egress_free(g);
}

static void test_headers(void **state)
{
	struct egress *g = open_policy();
	const struct frame good = packet("10.0.0.2", "192.0.2.1", TCP, 1, 80, NULL, 0);
	const struct frame good6 = packet("fd00::2", "fd00:1::1", UDP, 1, 1000, NULL, 0);
	struct egress_sum sum = { ETH + 20, ETH + 20 + 16 };
	struct frame f;

	(void)state;
	for (size_t len = 0; len < good.len; len++) { // cut anywhere
		f = good;
		f.len = len;
		assert_false(passes_at(g, &f, SECOND));
	}
	f = good;
	f.b[6] ^= 4;
	refused(g, &f, "MAC");
	f = good;
	put16(f.b + 12, 0x8100);
	refused(g, &f, "Ethernet type");
	for (unsigned i = 0; i < 14; i++) { // more fragments, and each bit of the offset
		f = good;
		put16(f.b + ETH + 6, 1u << i);
		refused(g, &f, "fragment");
	}
	f = good; // its first eight bytes behind the header are an option then
	f.b[ETH] = 0x46;
	f.b[ETH + 20] = 131;
	refused(g, &f, "source route");
	f.b[ETH + 20] = 7;
	f.b[ETH + 21] = 0;
	refused(g, &f, "malformed IPv4 options");
	// The host stores a checksum where the guest says.
	assert_true(egress_out(g, good.b, good.len, &sum, SECOND, why));
	for (size_t at = ETH; at < good.len; at++) {
		sum.to = at;
		assert_int_equal(egress_out(g, good.b, good.len, &sum, SECOND, why),
				 at == ETH + 36);
	}
	for (unsigned next = 0; next < 256; next++) { // but for the protocols, none is passed over
		f = good6;
		f.b[ETH + 6] = (uint8_t)next;
		assert_int_equal(passes_at(g, &f, SECOND), next == UDP);
	}
	f = good6; // a header of options before it
	memmove(f.b + ETH + 48, f.b + ETH + 40, 8);
	memset(f.b + ETH + 40, 0, 8);
	f.b[ETH + 40] = UDP;
	f.b[ETH + 6] = 60;
	put16(f.b + ETH + 4, 16);
	f.len += 8;
	assert_true(passes_at(g, &f, SECOND));
	f.b[ETH + 41] = 255; // longer than the packet
	refused(g, &f, "malformed IPv6 extension");
	egress_free(g);
}

static void test_link(void **state)
{
	struct egress *g = open_policy();
	static const uint8_t arp[] = { 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 2 };
	struct frame f = { .len = 0 };

	(void)state;
	memcpy(f.b + 6, mac, 6);
	put16(f.b + 12, 0x0806);
	memcpy(f.b + ETH, arp, sizeof(arp));
	f.len = ETH + 28;
	assert_true(passes_at(g, &f, SECOND));
	f.b[ETH + 17] = 3; // for another's address
	refused(g, &f, "ARP");
	f.b[ETH + 17] = 2;
	f.b[ETH + 13] = 9; // with another's MAC
	refused(g, &f, "ARP");
	f = packet("fd00::2", "ff02::1:ff00:1", 58, 0x8700, 0, NULL,
		   12); // a solicitation with its option
	f.b[ETH + 7] = 255;
	f.b[ETH + 40 + 24] = 1;
	f.b[ETH + 40 + 25] = 1;
	memcpy(f.b + ETH + 40 + 26, mac, 6);
	assert_true(passes_at(g, &f, SECOND));
	f.b[ETH + 7] = 254;
	assert_false(passes_at(g, &f, SECOND));
	f.b[ETH + 7] = 255;
	f.b[ETH + 40 + 27] = 0x55; // a MAC that carries something
	assert_false(passes_at(g, &f, SECOND));
	f.b[ETH + 40 + 24] = 14; // a nonce: whether another has the address
	assert_true(passes_at(g, &f, SECOND));
	f.b[ETH + 40 + 24] = 1;
	memcpy(f.b + ETH + 40 + 26, mac, 6);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", f.b + ETH + 24), 1); // far away
	assert_false(passes_at(g, &f, SECOND));
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", f.b + ETH + 48),
			 1); // itself, which may be a neighbour
	assert_true(passes_at(g, &f, SECOND));
	f.b[ETH + 23] = 9; // from another's address
	assert_false(passes_at(g, &f, SECOND));
	egress_free(g);
}

// ---- names
static const uint8_t web[] = "\x03web\x07"
			     "eXample\x03org"; // with the root's zero
static const uint8_t other[] = "\x03web\x07"
			       "example\x03"
			       "com";

static size_t message(uint8_t *m, uint16_t id, bool answer, const uint8_t *name, size_t n,
		      uint16_t type)
{
	memset(m, 0, 12);
	put16(m, id);
	m[2] = answer ? 0x81 : 1;
	m[5] = 1;
	memcpy(m + 12, name, n);
	put16(m + 12 + n, type);
	put16(m + 12 + n + 2, 1);
	return 12 + n + 4;
}

static size_t record(uint8_t *m, size_t at, const uint8_t *owner, size_t n, uint16_t type,
		     uint16_t ttl, const void *data, size_t len)
{
	m[7]++;
	memcpy(m + at, owner, n);
	at += n;
	put16(m + at, type);
	put16(m + at + 2, 1);
	put16(m + at + 4, 0);
	put16(m + at + 6, ttl);
	put16(m + at + 8, len);
	memcpy(m + at + 10, data, len);
	return at + 10 + len;
}

static bool ask(struct egress *g, const char *resolver, uint16_t port, const uint8_t *m, size_t n)
{
	struct frame f = packet("10.0.0.2", resolver, UDP, 5000, port, m, n);

	return passes_at(g, &f, SECOND);
}

static void answer(struct egress *g, const char *from, uint16_t port, const uint8_t *m, size_t n)
{
	struct frame f = packet(from, "10.0.0.2", UDP, 53, port, m, n);

	egress_in(g, f.b, f.len, SECOND);
}

static void test_queries(void **state)
{
	struct egress *g = open_policy();
	uint8_t m[600];
	size_t n = message(m, 7, false, web, sizeof(web), 1);

	(void)state;
	assert_true(ask(g, "10.0.0.53", 53, m, n));
	assert_false(ask(g, "10.0.0.53", 5353, m, n));
	assert_false(ask(g, "10.0.0.54", 53, m, n));
	assert_false(tcp_passes(g, "10.0.0.53", 53, SECOND));
	assert_non_null(strstr(why, "DNS over TCP"));
	assert_false(ask(g, "10.0.0.53", 53, m, n - 1));
	m[n] = 0;
	assert_false(ask(g, "10.0.0.53", 53, m, n + 1)); // something behind the question
	m[2] |= 0x80;
	assert_false(ask(g, "10.0.0.53", 53, m, n)); // no query
	n = message(m, 7, false, other, sizeof(other), 1);
	assert_false(ask(g, "10.0.0.53", 53, m, n));
	assert_non_null(strstr(why, "the name is not allowed"));
	assert_non_null(strstr(why, "name web.example.com"));
	n = message(m, 7, false,
		    (const uint8_t *)"\x01"
				     "a\x07"
				     "example\x03net",
		    15, 28);
	assert_true(ask(g, "10.0.0.53", 53, m, n));
	n = message(m, 7, false,
		    (const uint8_t *)"\x07"
				     "example\x03net",
		    13, 28); // not below itself
	assert_false(ask(g, "10.0.0.53", 53, m, n));
	n = message(m, 7, false,
		    (const uint8_t *)"\x08"
				     "aexample\x03net",
		    14, 28);
	assert_false(ask(g, "10.0.0.53", 53, m, n));
	egress_free(g);
}

static void test_answers(void **state)
{
	static const uint8_t root[] = { 0xc0, 12 }, cdn[] = "\x03"
							    "cdn\x02"
							    "eu";
	static const uint8_t v4[] = { 198, 51, 100, 7 }, stray[] = { 198, 51, 100, 8 };
	struct egress *g = open_policy();
	uint8_t q[600], m[600];
	size_t nq = message(q, 7, false, web, sizeof(web), 1), n;

	(void)state;
	n = message(m, 7, true, web, sizeof(web), 1);
	n = record(m, n, root, 2, 5, 300, cdn, sizeof(cdn));
	n = record(m, n, cdn, sizeof(cdn), 1, 300, v4, 4);
	n = record(m, n, other, sizeof(other), 1, 300, stray, 4); // not of the chain
	answer(g, "10.0.0.53", 5000, m, n);                       // unasked
	assert_false(tcp_passes(g, "198.51.100.7", 443, SECOND));
	assert_true(ask(g, "10.0.0.53", 53, q, nq));
	answer(g, "10.0.0.54", 5000, m, n); // by another
	answer(g, "10.0.0.53", 5001, m, n); // to another
	m[1] = 8;
	answer(g, "10.0.0.53", 5000, m, n); // another's
	m[1] = 7;
	assert_false(tcp_passes(g, "198.51.100.7", 443, SECOND));
	answer(g, "10.0.0.53", 5000, m, n);
	assert_true(tcp_passes(g, "198.51.100.7", 443, SECOND));
	assert_false(tcp_passes(g, "198.51.100.7", 80, SECOND)); // the name's port alone
	assert_false(tcp_passes(g, "198.51.100.8", 443, SECOND));
	assert_true(tcp_passes(g, "198.51.100.7", 443, 300 * SECOND)); // and is in use
	assert_true(tcp_passes(g, "198.51.100.7", 443, 359 * SECOND));
	assert_false(tcp_passes(g, "198.51.100.7", 443, 419 * SECOND));
	// Messages that point nowhere or in a circle, cut anywhere.
	for (size_t cut = 0; cut < n; cut++) {
		assert_true(ask(g, "10.0.0.53", 53, q, nq));
		answer(g, "10.0.0.53", 5000, m, cut);
	}
	assert_true(ask(g, "10.0.0.53", 53, q, nq));
	n = message(m, 7, true, web, sizeof(web), 1);
	put16(m + n, 0xc000 | n);
	m[7] = 9;
	answer(g, "10.0.0.53", 5000, m, n + 2);
	egress_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),    cmocka_unit_test(test_rules),
		cmocka_unit_test(test_headers), cmocka_unit_test(test_link),
		cmocka_unit_test(test_queries), cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
