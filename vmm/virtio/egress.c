// SPDX-License-Identifier: Apache-2.0
// Frames against an egress policy. What is not known to be allowed is refused: tags, fragments, headers that say where a
// packet goes on to, protocols without ports. What keeps a link alive (ARP, neighbour discovery, group membership) is let
// through where it stays on the link or says no more than the guest's own MAC.
#include "vmm/virtio/egress.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "vmm/virtio/egress_priv.h"

enum { ETHERNET_BYTES = 14, ETHERTYPE_IPV4 = 0x0800, ETHERTYPE_ARP = 0x0806 };
enum { ETHERTYPE_IPV6 = 0x86dd, ARP_BYTES = 28, IPV4_BYTES = 20, IPV6_BYTES = 40, UDP_BYTES = 8 };
enum { TCP_BYTES = 20, ICMP_BYTES = 8 };
enum { NEXT_HOP_BY_HOP = 0, NEXT_DESTINATION = 60, NEXT_ICMPV6 = 58, EXTENSIONS_MAX = 4 };
enum { OPTION_END = 0, OPTION_NOP = 1, OPTION_LSRR = 131, OPTION_SSRR = 137 };
enum { ECHO_REPLY = 0, ECHO = 8, ECHO6 = 128, ECHO6_REPLY = 129 };
enum { MLD_REPORT = 131, MLD_DONE = 132, MLD2_REPORT = 143 };
enum { ND_ROUTER_SOLICIT = 133, ND_SOLICIT = 135, ND_ADVERT = 136, ND_HOPS = 255 };

// A packet as far as it is looked at. p: its transport header; n: of that, the bytes there are to see; len: the bytes that the
// packet has.
struct packet {
	struct egress_addr src, dst;
	uint8_t protocol, hops;
	const uint8_t *p;
	size_t n, len;
};

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool addr_is(const struct egress_addr *a, const struct egress_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool addr_in(const struct egress_addr *list, unsigned n, const struct egress_addr *a)
{
	for (unsigned i = 0; i < n; i++)
		if (addr_is(&list[i], a))
			return true;
	return false;
}

static bool addr_below(const struct egress_addr *a, const struct egress_addr *net, unsigned prefix)
{
	unsigned bytes = prefix / 8, bits = prefix % 8;

	return memcmp(a, net, bytes) == 0 &&
	       (!bits || !((a->b[bytes] ^ net->b[bytes]) >> (8 - bits)));
}

static void addr_v4(struct egress_addr *a, const uint8_t *from)
{
	memcpy(a->b, mapped, sizeof(mapped));
	memcpy(a->b + 12, from, 4);
}

static bool own_source(const struct egress *g, const struct egress_addr *a)
{
	return !g->n_addresses || addr_in(g->address, g->n_addresses, a);
}

// ---- headers: NULL, or why the frame is none that can be judged
// Source routes go elsewhere than the header says (RFC 791, 3.1).
static const char *ipv4_options(const uint8_t *p, size_t n)
{
	while (n && *p != OPTION_END) {
		size_t len = *p == OPTION_NOP ? 1 : n < 2 ? 0 : p[1];

		if (*p == OPTION_LSRR || *p == OPTION_SSRR)
			return "source route";
		if (!len || len > n || (*p != OPTION_NOP && len < 2))
			return "malformed IPv4 options";
		p += len;
		n -= len;
	}
	return NULL;
}

static const char *parse_ipv4(struct packet *k, const uint8_t *p, size_t n, size_t len)
{
	size_t head, total;

	if (n < IPV4_BYTES || p[0] >> 4 != 4)
		return "malformed IPv4";
	head = (size_t)(p[0] & 15) * 4;
	total = egress_be16(p + 2);
	if (head < IPV4_BYTES || head > n || total < head || total > len)
		return "malformed IPv4";
	addr_v4(&k->src, p + 12);
	addr_v4(&k->dst, p + 16);
	k->protocol = p[9];
	if (egress_be16(p + 6) & 0x3fff) // more fragments, or not the first
		return "fragment";
	k->p = p + head;
	k->n = (n < total ? n : total) - head;
	k->len = total - head;
	return ipv4_options(p + IPV4_BYTES, head - IPV4_BYTES);
}

static const char *parse_ipv6(struct packet *k, const uint8_t *p, size_t n, size_t len)
{
	size_t total;
	uint8_t next;

	if (n < IPV6_BYTES || p[0] >> 4 != 6)
		return "malformed IPv6";
	total = (size_t)IPV6_BYTES + egress_be16(p + 4);
	if (total > len)
		return "malformed IPv6";
	memcpy(k->src.b, p + 8, 16);
	memcpy(k->dst.b, p + 24, 16);
	if (memcmp(k->dst.b, mapped, sizeof(mapped)) == 0)
		return "mapped IPv4 address";
	next = p[6];
	k->hops = p[7];
	k->n = (n < total ? n : total) - IPV6_BYTES;
	k->len = total - IPV6_BYTES;
	k->p = p + IPV6_BYTES;
	for (unsigned i = 0; next == NEXT_HOP_BY_HOP || next == NEXT_DESTINATION; i++) {
		size_t bytes = k->n < 8 ? SIZE_MAX : 8 + (size_t)k->p[1] * 8;

		if (i == EXTENSIONS_MAX || bytes > k->n)
			return "malformed IPv6 extension header";
		next = k->p[0];
		k->p += bytes;
		k->n -= bytes;
		k->len -= bytes;
	}
	k->protocol = next;
	return next == 44 ? "fragment" : NULL;
}

// ---- what keeps the link alive
static bool arp_passes(const struct egress *g, const uint8_t *p, size_t n)
{
	static const uint8_t ethernet_ipv4[7] = { 0, 1, 8, 0, 6, 4, 0 };
	struct egress_addr sender;
	static const struct egress_addr none = { .b = { [10] = 0xff, [11] = 0xff } };

	if (n < ARP_BYTES || memcmp(p, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0 ||
	    (p[7] != 1 && p[7] != 2) || memcmp(p + 8, g->mac, 6) != 0)
		return false;
	addr_v4(&sender, p + 14);
	return own_source(g, &sender) ||
	       (p[7] == 1 && addr_is(&sender, &none)); // RFC 5227 asks from none
}

// At most one option: the guest's own link-layer address (RFC 4861, 4.6.1), or a nonce, which stays on the link (RFC 7527).
static bool nd_option_passes(const struct egress *g, const struct packet *k, size_t at,
			     bool on_link)
{
	const uint8_t *option = k->p + at;

	if (k->len != k->n || k->n == at)
		return k->len == k->n;
	if (k->n != at + 8 || option[1] != 1)
		return false;
	return (option[0] == 14 && on_link) ||
	       ((option[0] == 1 || option[0] == 2) && memcmp(option + 2, g->mac, 6) == 0);
}

static bool link_local(const struct egress_addr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

static bool link_passes(const struct egress *g, const struct packet *k)
{
	bool on_link = k->dst.b[0] == 0xff && k->dst.b[1] == 2;
	bool own = own_source(g, &k->src) || link_local(&k->src); // the latter no router forwards

	if (k->protocol != NEXT_ICMPV6 || k->n < ICMP_BYTES || k->p[1] != 0)
		return false;
	switch (k->p[0]) {
	case MLD_REPORT:
	case MLD_DONE:
	case MLD2_REPORT:
		return on_link && k->hops == 1;
	case ND_ROUTER_SOLICIT:
		return on_link && k->hops == ND_HOPS && nd_option_passes(g, k, 8, on_link);
	case ND_SOLICIT: // of one neighbour: to that, when it is known and only asked whether it is still there
		return k->n >= 24 && k->hops == ND_HOPS && nd_option_passes(g, k, 24, on_link) &&
		       (on_link || (own && memcmp(k->p + 8, k->dst.b, 16) == 0));
	case ND_ADVERT: // may be for another of its addresses; a router sends none on
		return k->n >= 24 && k->hops == ND_HOPS && nd_option_passes(g, k, 24, on_link) &&
		       (on_link || link_local(&k->dst) ||
			(own && memcmp(k->p + 8, k->src.b, 16) == 0));
	default:
		return false;
	}
}

// ---- rules
// The port that rules are held against, 0 for an echo. False: no protocol of ours.
static bool rule_port(const struct packet *k, uint8_t *ret_protocol, uint16_t *ret_port)
{
	bool v4 = memcmp(k->dst.b, mapped, sizeof(mapped)) == 0;

	*ret_protocol = k->protocol;
	*ret_port = 0;
	if (k->protocol == EGRESS_TCP || k->protocol == EGRESS_UDP) {
		if (k->n < (k->protocol == EGRESS_TCP ? TCP_BYTES : UDP_BYTES))
			return false;
		*ret_port = egress_be16(k->p + 2);
		return true;
	}
	*ret_protocol = EGRESS_ICMP;
	if (k->n < ICMP_BYTES || k->p[1] != 0)
		return false;
	return v4 ? k->protocol == EGRESS_ICMP && (k->p[0] == ECHO || k->p[0] == ECHO_REPLY)
		  : k->protocol == NEXT_ICMPV6 && (k->p[0] == ECHO6 || k->p[0] == ECHO6_REPLY);
}

static bool rules_allow(const struct egress *g, const struct egress_addr *dst, uint8_t protocol,
			uint16_t port)
{
	for (unsigned i = 0; i < g->n_rules; i++) {
		const struct egress_ports *p = &g->rule[i].ports;

		if ((p->protocol == EGRESS_ANY || p->protocol == protocol) && port >= p->from &&
		    port <= p->to && addr_below(dst, &g->rule[i].addr, g->rule[i].prefix))
			return true;
	}
	return false;
}

static void explain(char *reason, const struct packet *k, uint8_t protocol, uint16_t port,
		    const char *why, const char *name)
{
	bool v4 = memcmp(k->dst.b, mapped, sizeof(mapped)) == 0;
	char addr[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? k->dst.b + 12 : k->dst.b, addr, sizeof(addr));
	(void)snprintf(reason, EGRESS_REASON_BYTES, "%s to %s protocol %u port %u%s%s", why, addr,
		       protocol, port, name[0] ? " name " : "", name); // cut is fine
}

// A query to a resolver; its length is that of the datagram, all of which is there to see.
static bool query_passes(struct egress *g, const struct packet *k, char name[EGRESS_NAME_BYTES],
			 const char **ret_why)
{
	*ret_why = "not a query of one name:";
	if (k->len != k->n || egress_be16(k->p + 4) != k->len)
		return false;
	return egress_dns_query(g, &k->dst, egress_be16(k->p), k->p + UDP_BYTES, k->n - UDP_BYTES,
				name, ret_why);
}

static bool packet_passes(struct egress *g, const struct packet *k, int64_t now_ns, char *reason)
{
	char name[EGRESS_NAME_BYTES] = "";
	const char *why = "not allowed:";
	uint8_t protocol;
	uint16_t port;

	if (!rule_port(k, &protocol, &port)) {
		why = "protocol that is never allowed:";
		protocol = k->protocol;
	} else if (!own_source(g, &k->src)) {
		why = "source that is not the pod's:";
	} else if ((protocol == EGRESS_UDP || protocol == EGRESS_TCP) && port == EGRESS_DNS_PORT &&
		   addr_in(g->resolver, g->n_resolvers, &k->dst)) {
		why = "DNS over TCP:";
		if (protocol == EGRESS_UDP && query_passes(g, k, name, &why))
			return true;
	} else if (rules_allow(g, &k->dst, protocol, port) ||
		   egress_dns_is_open(g, &k->dst, protocol, port, now_ns)) {
		return true;
	}
	explain(reason, k, protocol, port, why, name);
	return false;
}

static const char *parse_packet(struct packet *k, const uint8_t *frame, size_t n, size_t len)
{
	switch (egress_be16(frame + 12)) {
	case ETHERTYPE_IPV4:
		return parse_ipv4(k, frame + ETHERNET_BYTES, n - ETHERNET_BYTES,
				  len - ETHERNET_BYTES);
	case ETHERTYPE_IPV6:
		return parse_ipv6(k, frame + ETHERNET_BYTES, n - ETHERNET_BYTES,
				  len - ETHERNET_BYTES);
	default:
		return "Ethernet type that is never allowed";
	}
}

// The host writes two bytes after the verdict: nowhere but in the checksum, or they would be the port or the address.
static bool sum_is_in_place(const struct packet *k, const uint8_t *frame,
			    const struct egress_sum *s)
{
	size_t at = (size_t)(k->p - frame);

	return !s || (s->from == at && ((k->protocol == EGRESS_TCP && s->to == at + 16) ||
					(k->protocol == EGRESS_UDP && s->to == at + 6)));
}

bool egress_out(struct egress *g, const uint8_t *frame, size_t len, const struct egress_sum *sum,
		int64_t now_ns, char reason[EGRESS_REASON_BYTES])
{
	size_t n = len < EGRESS_LOOK_BYTES ? len : EGRESS_LOOK_BYTES;
	struct packet k = { .hops = 0 };
	const char *why = "malformed frame";

	if (n >= ETHERNET_BYTES && memcmp(frame + 6, g->mac, 6) != 0) {
		why = "source MAC that is not the interface's";
	} else if (n >= ETHERNET_BYTES && egress_be16(frame + 12) == ETHERTYPE_ARP) {
		if (!sum && arp_passes(g, frame + ETHERNET_BYTES, n - ETHERNET_BYTES))
			return true;
		why = "ARP that is not of the pod's address";
	} else if (n >= ETHERNET_BYTES) {
		why = parse_packet(&k, frame, n, len);
		if (!why && !sum_is_in_place(&k, frame, sum))
			why = "checksum in another place than its own";
		if (!why)
			return link_passes(g, &k) || packet_passes(g, &k, now_ns, reason);
	}
	(void)snprintf(reason, EGRESS_REASON_BYTES, "%s", why); // fits
	return false;
}

void egress_in(struct egress *g, const uint8_t *frame, size_t len, int64_t now_ns)
{
	struct packet k = { .hops = 0 };
	size_t bytes;

	if (len < ETHERNET_BYTES || parse_packet(&k, frame, len, len) || k.protocol != EGRESS_UDP ||
	    k.n < UDP_BYTES || egress_be16(k.p) != EGRESS_DNS_PORT ||
	    !addr_in(g->resolver, g->n_resolvers, &k.src))
		return;
	bytes = egress_be16(k.p + 4);
	if (bytes >= UDP_BYTES && bytes <= k.n)
		egress_dns_answer(g, &k.src, egress_be16(k.p + 2), k.p + UDP_BYTES,
				  bytes - UDP_BYTES, now_ns);
}
