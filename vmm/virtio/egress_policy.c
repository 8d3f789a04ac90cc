// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "vmm/virtio/egress_priv.h"

enum { LINE_BYTES = 512 };

static int parse_addr(const char *text, struct egress_addr *ret)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET, text, ret->b + 12) == 1) {
		memcpy(ret->b, mapped, sizeof(mapped));
		return AF_INET;
	}
	return inet_pton(AF_INET6, text, ret->b) == 1 && memcmp(ret->b, mapped, 12) != 0 ? AF_INET6
											 : -1;
}

static bool parse_ports(const char *protocol, unsigned from, unsigned to, struct egress_ports *ret)
{
	static const struct {
		const char *name;
		uint8_t protocol;
	} protocols[] = {
		{ "any", EGRESS_ANY },
		{ "icmp", EGRESS_ICMP },
		{ "tcp", EGRESS_TCP },
		{ "udp", EGRESS_UDP },
	};

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		if (strcmp(protocols[i].name, protocol) != 0)
			continue;
		*ret = (struct egress_ports){ protocols[i].protocol, (uint16_t)from, (uint16_t)to };
		return from <= to && to <= UINT16_MAX;
	}
	return false;
}

static bool parse_name(const char *text, bool *ret_below, char *ret)
{
	size_t n;

	*ret_below = strncmp(text, "*.", 2) == 0;
	text += *ret_below ? 2 : 0;
	n = strlen(text);
	if (!n || n >= EGRESS_NAME_BYTES - 1 || text[0] == '.' || text[n - 1] == '.')
		return false;
	for (size_t i = 0; i <= n; i++) {
		if (text[i] && !isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
			return false;
		ret[i] = (char)tolower((unsigned char)text[i]);
	}
	return true;
}

static bool line_allow(struct egress *g, const char *line)
{
	char protocol[8], addr[64];
	unsigned prefix, from, to;
	int end = 0, family;

	if (g->n_rules == EGRESS_RULES_MAX ||
	    sscanf(line, "%7s %63s %u %u %u%n", protocol, addr, &prefix, &from, &to, &end) != 5 ||
	    line[end] || !parse_ports(protocol, from, to, &g->rule[g->n_rules].ports))
		return false;
	family = parse_addr(addr, &g->rule[g->n_rules].addr);
	if (family < 0 || prefix > (family == AF_INET ? 32 : 128))
		return false;
	g->rule[g->n_rules++].prefix = prefix + (family == AF_INET ? 96 : 0);
	return true;
}

static bool line_name(struct egress *g, const char *line)
{
	char protocol[8], name[EGRESS_NAME_BYTES + 2];
	unsigned from, to;
	int end = 0;

	if (g->n_names == EGRESS_RULES_MAX ||
	    sscanf(line, "%7s %257s %u %u%n", protocol, name, &from, &to, &end) != 4 || line[end] ||
	    !parse_ports(protocol, from, to, &g->name[g->n_names].ports) ||
	    !parse_name(name, &g->name[g->n_names].below, g->name[g->n_names].name))
		return false;
	g->n_names++;
	return true;
}

static bool line_resolver(struct egress *g, const char *line)
{
	return g->n_resolvers < EGRESS_RESOLVERS_MAX &&
	       parse_addr(line, &g->resolver[g->n_resolvers++]) >= 0;
}

static bool line_address(struct egress *g, const char *line)
{
	return g->n_addresses < EGRESS_ADDRESSES_MAX &&
	       parse_addr(line, &g->address[g->n_addresses++]) >= 0;
}

static bool parse_line(struct egress *g, const char *line)
{
	static const struct {
		const char *word;
		bool (*parse)(struct egress *g, const char *line);
	} words[] = {
		{ "allow ", line_allow },
		{ "name ", line_name },
		{ "resolver ", line_resolver },
		{ "address ", line_address },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(line, words[i].word, strlen(words[i].word)) == 0)
			return words[i].parse(g, line + strlen(words[i].word));
	return false;
}

static int parse_text(struct egress *g, const char *text, size_t len, struct err *e)
{
	unsigned number = 0;

	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;
		char line[LINE_BYTES];

		number++;
		if (!end || n >= sizeof(line) || memchr(text, '\0', n))
			return err_set(e, EINVAL, "egress policy: line %u: not a line of text",
				       number);
		memcpy(line, text, n);
		line[n] = '\0';
		if (!parse_line(g, line))
			return err_set(e, EINVAL,
				       "egress policy: line %u: no rule, or one too many", number);
		text += n + 1;
		len -= n + 1;
	}
	return 0;
}

int egress_new(const char *text, size_t len, const uint8_t mac[6], struct egress **ret,
	       struct err *e)
{
	struct egress *g;
	int r;

	if (len > EGRESS_TEXT_MAX)
		return err_set(e, E2BIG, "egress policy: more than %d bytes", EGRESS_TEXT_MAX);
	g = calloc(1, sizeof(*g));
	if (!g)
		return err_errno(e, ENOMEM, "egress policy");
	memcpy(g->mac, mac, sizeof(g->mac));
	r = parse_text(g, text, len, e);
	if (r < 0) {
		egress_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

void egress_free(struct egress *g)
{
	free(g);
}
