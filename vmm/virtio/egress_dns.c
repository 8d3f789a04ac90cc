// SPDX-License-Identifier: Apache-2.0
// Names of an egress policy (messages: RFC 1035, 4). A query goes out only if its name is allowed; the answer that belongs
// to it opens the addresses that its chain of CNAMEs ends at. An answer is followed in the order of its records, which is
// that of the chain (RFC 1034, 4.3.2); one out of order opens less, never more.
#include <ctype.h>
#include <string.h>

#include "vmm/virtio/egress_priv.h"

enum { HEADER_BYTES = 12, QUERY_BYTES_MAX = 512, LABEL_MAX = 63, POINTERS_MAX = 32 };
enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, TYPE_OPT = 41, CLASS_IN = 1 };
enum { OPT_BYTES_MAX = 64 }; // the cookie and what is as small
#define SECOND_NS 1000000000ll
// An address is open this long at least: a program connects some time after it has asked, also if the TTL is 0. And not
// longer than a day without a new answer.
#define OPEN_MIN_NS (60 * SECOND_NS)
#define OPEN_MAX_S 86400u

struct reader {
	const uint8_t *msg;
	size_t len, at;
};

// A name as text in lower case, of letters, digits, '-' and '_'; the root is empty.
static bool read_name(struct reader *r, bool compressed, char ret[EGRESS_NAME_BYTES])
{
	size_t at = r->at, n = 0;
	unsigned pointers = 0;

	for (;;) {
		uint8_t len;

		if (at >= r->len)
			return false;
		len = r->msg[at++];
		if (len >= 0xc0) {
			if (!compressed || at >= r->len || ++pointers > POINTERS_MAX)
				return false;
			if (pointers == 1)
				r->at = at + 1;
			at = (size_t)(len & 0x3f) << 8 | r->msg[at];
			continue;
		}
		if (len > LABEL_MAX || len > r->len - at || n + len + 2 > EGRESS_NAME_BYTES)
			return false;
		if (!len)
			break;
		if (n)
			ret[n++] = '.';
		for (; len; len--, at++) {
			if (!isalnum(r->msg[at]) && r->msg[at] != '-' && r->msg[at] != '_')
				return false;
			ret[n++] = (char)tolower(r->msg[at]);
		}
	}
	ret[n] = '\0';
	if (!pointers)
		r->at = at;
	return true;
}

static bool read16(struct reader *r, uint16_t *ret)
{
	if (r->len - r->at < 2)
		return false;
	*ret = egress_be16(r->msg + r->at);
	r->at += 2;
	return true;
}

static bool read_question(struct reader *r, char name[EGRESS_NAME_BYTES], uint16_t *ret_type)
{
	uint16_t class;

	r->at = HEADER_BYTES;
	return read_name(r, false, name) && read16(r, ret_type) && read16(r, &class) &&
	       class == CLASS_IN;
}

bool egress_name_matches(const struct egress *g, unsigned rule, const char *name)
{
	const char *want = g->name[rule].name;
	size_t n = strlen(name), w = strlen(want);

	if (!g->name[rule].below)
		return strcmp(name, want) == 0;
	return n > w + 1 && name[n - w - 1] == '.' && strcmp(name + n - w, want) == 0;
}

static bool name_allowed(const struct egress *g, const char *name)
{
	for (unsigned i = 0; i < g->n_names; i++)
		if (egress_name_matches(g, i, name))
			return true;
	return false;
}

// Nothing follows the question but a small OPT (RFC 6891, 6.1.2): a query is no way to carry other bytes.
static bool query_ends(struct reader *r, uint16_t additional)
{
	uint16_t type = 0, bytes = 0;

	if (!additional)
		return r->at == r->len;
	if (additional != 1 || r->len - r->at < 11 || r->msg[r->at] != 0)
		return false;
	r->at++;
	(void)read16(r, &type); // there are the bytes
	r->at += 6;
	(void)read16(r, &bytes);
	return type == TYPE_OPT && bytes <= OPT_BYTES_MAX && r->at + bytes == r->len;
}

bool egress_dns_query(struct egress *g, const struct egress_addr *resolver, uint16_t port,
		      const uint8_t *msg, size_t len, char name[EGRESS_NAME_BYTES],
		      const char **ret_why)
{
	struct reader r = { .msg = msg, .len = len };
	struct egress_query *q = &g->query[g->next_query];
	uint16_t type;

	name[0] = '\0';
	*ret_why = "not a query of one name:";
	// QR, opcode, AA, TC, RCODE are 0; one question and no records but an additional one.
	if (len < HEADER_BYTES || len > QUERY_BYTES_MAX || (msg[2] & 0xfe) || (msg[3] & 0x0f) ||
	    egress_be16(msg + 4) != 1 || egress_be16(msg + 6) || egress_be16(msg + 8))
		return false;
	if (!read_question(&r, name, &type)) {
		name[0] = '\0'; // half a name
		return false;
	}
	if (!query_ends(&r, egress_be16(msg + 10)))
		return false;
	*ret_why = "the name is not allowed:";
	if (!name_allowed(g, name))
		return false;
	*q = (struct egress_query){ *resolver, egress_be16(msg), port, type, "" };
	memcpy(q->name, name, EGRESS_NAME_BYTES);
	g->next_query = (g->next_query + 1) % EGRESS_QUERIES_MAX; // the oldest makes room
	return true;
}

static void open_address(struct egress *g, const struct egress_addr *a, const char *name,
			 uint32_t ttl, int64_t now_ns)
{
	int64_t until = now_ns + (ttl < OPEN_MAX_S ? ttl : OPEN_MAX_S) * SECOND_NS;
	unsigned at = 0;

	if (until < now_ns + OPEN_MIN_NS)
		until = now_ns + OPEN_MIN_NS;
	for (unsigned i = 0; i < EGRESS_OPEN_MAX; i++) {
		if (g->open[i].until_ns && memcmp(&g->open[i].addr, a, sizeof(*a)) == 0 &&
		    strcmp(g->open[i].name, name) == 0) {
			at = i;
			break;
		}
		if (g->open[i].until_ns < g->open[at].until_ns)
			at = i; // free, or the next to close
	}
	g->open[at].addr = *a;
	g->open[at].until_ns = until;
	memcpy(g->open[at].name, name, EGRESS_NAME_BYTES);
}

// One record of the answer; chain is the name that the question leads to so far.
static bool read_record(struct egress *g, struct reader *r, const char *asked,
			char chain[EGRESS_NAME_BYTES], int64_t now_ns)
{
	struct egress_addr a = { .b = { [10] = 0xff, [11] = 0xff } };
	char owner[EGRESS_NAME_BYTES], target[EGRESS_NAME_BYTES];
	uint16_t type, class, high, low, bytes;
	struct reader data;

	if (!read_name(r, true, owner) || r->at > r->len || !read16(r, &type) ||
	    !read16(r, &class) || !read16(r, &high) || !read16(r, &low) || !read16(r, &bytes) ||
	    bytes > r->len - r->at)
		return false;
	data = *r;
	r->at += bytes;
	if (class != CLASS_IN || strcmp(owner, chain) != 0)
		return true;
	if (type == TYPE_CNAME && read_name(&data, true, target)) {
		memcpy(chain, target, EGRESS_NAME_BYTES);
	} else if (type == TYPE_A && bytes == 4) {
		memcpy(a.b + 12, data.msg + data.at, 4);
		open_address(g, &a, asked, (uint32_t)high << 16 | low, now_ns);
	} else if (type == TYPE_AAAA && bytes == 16) {
		memcpy(a.b, data.msg + data.at, 16);
		open_address(g, &a, asked, (uint32_t)high << 16 | low, now_ns);
	}
	return true;
}

static struct egress_query *find_query(struct egress *g, const struct egress_addr *resolver,
				       uint16_t port, uint16_t id, uint16_t type, const char *name)
{
	for (unsigned i = 0; i < EGRESS_QUERIES_MAX; i++) {
		struct egress_query *q = &g->query[i];

		if (q->name[0] && q->port == port && q->id == id && q->type == type &&
		    memcmp(&q->resolver, resolver, sizeof(*resolver)) == 0 &&
		    strcmp(q->name, name) == 0)
			return q;
	}
	return NULL;
}

void egress_dns_answer(struct egress *g, const struct egress_addr *resolver, uint16_t port,
		       const uint8_t *msg, size_t len, int64_t now_ns)
{
	struct reader r = { .msg = msg, .len = len };
	char asked[EGRESS_NAME_BYTES], chain[EGRESS_NAME_BYTES];
	struct egress_query *q;
	uint16_t type, n;

	// A response without an error to one question.
	if (len < HEADER_BYTES || !(msg[2] & 0x80) || (msg[3] & 0x0f) ||
	    egress_be16(msg + 4) != 1 || !read_question(&r, asked, &type))
		return;
	q = find_query(g, resolver, port, egress_be16(msg), type, asked);
	if (!q)
		return;
	q->name[0] = '\0'; // one answer a query
	strcpy(chain, asked);
	for (n = egress_be16(msg + 6); n; n--)
		if (!read_record(g, &r, asked, chain, now_ns))
			return;
}

bool egress_dns_is_open(struct egress *g, const struct egress_addr *a, uint8_t protocol,
			uint16_t port, int64_t now_ns)
{
	for (unsigned i = 0; i < EGRESS_OPEN_MAX; i++) {
		if (g->open[i].until_ns <= now_ns || memcmp(&g->open[i].addr, a, sizeof(*a)) != 0)
			continue;
		for (unsigned k = 0; k < g->n_names; k++) {
			const struct egress_ports *p = &g->name[k].ports;

			if ((p->protocol != EGRESS_ANY && p->protocol != protocol) ||
			    port < p->from || port > p->to ||
			    !egress_name_matches(g, k, g->open[i].name))
				continue;
			if (g->open[i].until_ns < now_ns + OPEN_MIN_NS)
				g->open[i].until_ns = now_ns + OPEN_MIN_NS; // a connection goes on
			return true;
		}
	}
	return false;
}
