// SPDX-License-Identifier: Apache-2.0
// A policy as its parts share it. Addresses are of 16 bytes, those of IPv4 mapped (RFC 4291, 2.5.5.2).
#ifndef VMM_VIRTIO_EGRESS_PRIV_H
#define VMM_VIRTIO_EGRESS_PRIV_H

#include "vmm/virtio/egress.h"

enum {
	EGRESS_NAME_BYTES = 256, // RFC 1035, 2.3.4, as text with its NUL
	EGRESS_OPEN_MAX = 512,   // addresses opened by answers
	EGRESS_QUERIES_MAX = 64, // waiting for an answer
	EGRESS_RESOLVERS_MAX = 8,
	EGRESS_ADDRESSES_MAX = 32,
	EGRESS_DNS_PORT = 53
};
enum { EGRESS_ANY = 0, EGRESS_ICMP = 1, EGRESS_TCP = 6, EGRESS_UDP = 17 };

struct egress_addr {
	uint8_t b[16];
};

struct egress_ports {
	uint8_t protocol;
	uint16_t from, to;
};

struct egress_query {
	struct egress_addr resolver;
	uint16_t id, port, type;      // port: the guest's
	char name[EGRESS_NAME_BYTES]; // lower case; empty: no query
};

struct egress {
	uint8_t mac[6];
	unsigned n_rules, n_names, n_resolvers, n_addresses, next_query;
	struct {
		struct egress_ports ports;
		struct egress_addr addr;
		unsigned prefix;
	} rule[EGRESS_RULES_MAX];
	struct {
		struct egress_ports ports;
		bool below; // what ends in a dot and the name
		char name[EGRESS_NAME_BYTES];
	} name[EGRESS_RULES_MAX];
	struct egress_addr resolver[EGRESS_RESOLVERS_MAX], address[EGRESS_ADDRESSES_MAX];
	struct egress_query query[EGRESS_QUERIES_MAX];
	struct {
		struct egress_addr addr;
		int64_t until_ns;             // 0: free
		char name[EGRESS_NAME_BYTES]; // that was asked for
	} open[EGRESS_OPEN_MAX];
};

static inline uint16_t egress_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

bool egress_name_matches(const struct egress *g, unsigned rule, const char *name);
// A query from the guest's port to a resolver. False: refused, *ret_why says why; name is what is asked for, or empty.
bool egress_dns_query(struct egress *g, const struct egress_addr *resolver, uint16_t port,
		      const uint8_t *msg, size_t len, char name[EGRESS_NAME_BYTES],
		      const char **ret_why);
void egress_dns_answer(struct egress *g, const struct egress_addr *resolver, uint16_t port,
		       const uint8_t *msg, size_t len, int64_t now_ns);
// Whether an answer has opened the address for the port; one in use stays open.
bool egress_dns_is_open(struct egress *g, const struct egress_addr *a, uint8_t protocol,
			uint16_t port, int64_t now_ns);

#endif
