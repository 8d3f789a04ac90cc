// SPDX-License-Identifier: Apache-2.0
#include "runtime/egress.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "vmm/vmm.h"

enum { DEPTH_MAX = 8, LIST_MAX = 256, TEXT_MAX = 255, NAME_MAX_BYTES = 253, PORT_MAX = 65535 };

// Not an IPv4 address in IPv6's clothes: no frame has one, so that a rule of it would hold for nothing.
static bool is_address(const char *text)
{
	struct in6_addr b;

	return inet_pton(AF_INET, text, &b) == 1 ||
	       (inet_pton(AF_INET6, text, &b) == 1 && !IN6_IS_ADDR_V4MAPPED(&b));
}

static int read_cidr(const struct json_at *at, const char *protocol, char *ret, size_t size,
		     struct err *e)
{
	char addr[TEXT_MAX + 1];
	const char *text, *slash;
	unsigned prefix, max;
	int end = 0, r = json_string(at, TEXT_MAX, &text, e);

	if (r < 0)
		return r;
	(void)snprintf(addr, sizeof(addr), "%s", text); // fits
	slash = strchr(text, '/');
	addr[slash ? slash - text : (long)strlen(text)] = '\0';
	max = strchr(addr, ':') ? 128 : 32;
	prefix = max;
	if (!is_address(addr) || (slash && (!isdigit((unsigned char)slash[1]) ||
					    sscanf(slash + 1, "%3u%n", &prefix, &end) != 1 ||
					    slash[1 + end] || prefix > max)))
		return json_err(
			at, e, "\"%.60s\" is not an address or a network such as 10.0.0.0/8", text);
	(void)snprintf(ret, size, "allow %s %s %u", protocol, addr, prefix); // fits
	return 0;
}

static int read_name(const struct json_at *at, const char *protocol, char *ret, size_t size,
		     struct err *e)
{
	const char *text, *name;
	size_t n;
	int r = json_string(at, NAME_MAX_BYTES, &text, e);

	if (r < 0)
		return r;
	name = text + (strncmp(text, "*.", 2) == 0 ? 2 : 0);
	n = strlen(name);
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
			n = 0;
	if (!n || name[0] == '.' || name[n - 1] == '.' || strstr(name, ".."))
		return json_err(at, e,
				"\"%.60s\" is not a name such as example.org or *.example.org",
				text);
	(void)snprintf(ret, size, "name %s %s", protocol, text); // fits
	return 0;
}

static int read_port(const struct json_at *at, unsigned *ret_from, unsigned *ret_to, struct err *e)
{
	const char *text = YAJL_GET_STRING(at->v);
	uint64_t port;
	int end = 0, r;

	if (text) {
		if (!isdigit((unsigned char)text[0]) ||
		    sscanf(text, "%5u-%5u%n", ret_from, ret_to, &end) != 2 || text[end] ||
		    *ret_from > *ret_to || *ret_to > PORT_MAX)
			return json_err(
				at, e, "\"%.40s\" is not a range of ports such as 8000-8099", text);
		return 0;
	}
	r = json_u64(at, PORT_MAX, &port, e);
	if (r == 0)
		*ret_from = *ret_to = (unsigned)port;
	return r;
}

static int read_protocol(const struct json_at *rule, const char **ret, struct err *e)
{
	static const char *const names[] = { "any", "tcp", "udp", "icmp" };
	struct json_at at;
	const char *text = NULL;
	int r;

	*ret = names[0];
	if (!json_member(rule, "protocol", &at))
		return 0;
	r = json_string(&at, TEXT_MAX, &text, e);
	for (size_t i = 0; r == 0 && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], text) == 0) {
			*ret = names[i];
			return 0;
		}
	return r < 0 ? r
		     : json_err(&at, e, "unknown value \"%.40s\" (any, tcp, udp or icmp)", text);
}

static int known_keys(const struct json_at *obj, const char *const *keys, struct err *e)
{
	int r = json_is_object(obj, e);

	for (size_t i = 0; r == 0 && i < obj->v->u.object.len; i++) {
		struct json_at at = json_pair(obj, i);
		size_t k = 0;

		while (keys[k] && strcmp(keys[k], at.key) != 0)
			k++;
		if (!keys[k])
			r = json_err(&at, e, "unknown key");
	}
	return r;
}

static int put_ports(FILE *out, const struct json_at *rule, const char *head, bool icmp,
		     struct err *e)
{
	struct json_at at;
	size_t n;
	int r;

	if (!json_member(rule, "ports", &at)) {
		(void)fprintf(out, "%s 0 %d\n", head, icmp ? 0 : PORT_MAX); // seen at the close
		return 0;
	}
	if (icmp)
		return json_err(&at, e, "icmp has no ports");
	r = json_is_array(&at, LIST_MAX, &n, e);
	if (r == 0 && !n)
		r = json_err(&at, e, "expected a port");
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_item(&at, i);
		unsigned from, to;

		r = read_port(&item, &from, &to, e);
		if (r == 0)
			(void)fprintf(out, "%s %u %u\n", head, from, to); // seen at the close
	}
	return r;
}

static int put_rule(FILE *out, const struct json_at *rule, struct err *e)
{
	static const char *const keys[] = { "cidr", "name", "protocol", "ports", NULL };
	char head[TEXT_MAX + 64];
	struct json_at cidr, name;
	const char *protocol;
	int r = known_keys(rule, keys, e);

	r = r < 0 ? r : read_protocol(rule, &protocol, e);
	if (r < 0)
		return r;
	if (json_member(rule, "cidr", &cidr) == json_member(rule, "name", &name))
		return json_err(rule, e, "expected either cidr or name");
	r = cidr.v ? read_cidr(&cidr, protocol, head, sizeof(head), e)
		   : read_name(&name, protocol, head, sizeof(head), e);
	return r < 0 ? r : put_ports(out, rule, head, strcmp(protocol, "icmp") == 0, e);
}

static int put_resolver(FILE *out, const struct json_at *at, struct err *e)
{
	const char *text;
	int r = json_string(at, TEXT_MAX, &text, e);

	if (r == 0 && !is_address(text))
		r = json_err(at, e, "\"%.60s\" is not an address", text);
	if (r == 0)
		(void)fprintf(out, "resolver %s\n", text); // seen at the close
	return r;
}

static int put_list(FILE *out, const struct json_at *top, const char *key,
		    int (*put)(FILE *out, const struct json_at *at, struct err *e), struct err *e)
{
	struct json_at at;
	size_t n = 0;
	int r = json_member(top, key, &at) ? json_is_array(&at, LIST_MAX, &n, e) : 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_item(&at, i);

		r = put(out, &item, e);
	}
	return r;
}

int egress_parse(const char *json, size_t len, char **ret, struct err *e)
{
	static const char *const keys[] = { "resolvers", "allow", NULL };
	yajl_val tree = NULL;
	struct json_at top;
	char *text = NULL;
	size_t size = 0;
	FILE *out;
	int r = json_parse(json, len, DEPTH_MAX, &tree, e);

	if (r < 0)
		return r;
	top = json_top(tree);
	out = open_memstream(&text, &size);
	r = out ? known_keys(&top, keys, e) : err_errno(e, ENOMEM, "egress policy");
	r = r < 0 ? r : put_list(out, &top, "resolvers", put_resolver, e);
	r = r < 0 ? r : put_list(out, &top, "allow", put_rule, e);
	if (out && fclose(out) != 0 && r == 0)
		r = err_errno(e, ENOMEM, "egress policy");
	if (r == 0 && size > VMM_EGRESS_BYTES_MAX)
		r = err_set(e, E2BIG, "egress policy: more than %d bytes as lines",
			    VMM_EGRESS_BYTES_MAX);
	yajl_tree_free(tree);
	if (r < 0) {
		free(text);
		return r;
	}
	*ret = text;
	return 0;
}

int egress_file(const char *lines, int *ret_fd, struct err *e)
{
	int fd AUTO_CLOSE = memfd_create("egress", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return err_errno(e, errno, "egress policy: memfd");
	r = io_write_full(fd, lines, strlen(lines));
	if (r < 0)
		return err_errno(e, -r, "egress policy: memfd");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_errno(e, errno, "egress policy: memfd");
	*ret_fd = take_fd(&fd);
	return 0;
}
