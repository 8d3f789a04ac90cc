// SPDX-License-Identifier: Apache-2.0
#include "runtime/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "runtime/bundle.h"
#include "runtime/client.h"
#include "runtime/host_place.h"
#include "runtime/proxy.h"
#include "runtime/proxy_fork.h"
#include "runtime/store.h"
#include "runtime/tty.h"

OWN_DEFINE(struct client *, client_close)
OWN_DEFINE(struct oci_config *, oci_config_free)
OWN_DEFINE(struct proxy *, proxy_free)

// ---- what to run
static int parse_id(const char *option, const char *text, size_t len, struct oci_opt_u32 *ret,
		    struct err *e)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || v > UINT32_MAX)
			return err_set(e, EINVAL, "%s: \"%.60s\" is not a number", option, text);
		v = v * 10 + (uint64_t)(text[i] - '0');
	}
	// The last number means "no change" to the kernel.
	if (!len || v >= UINT32_MAX)
		return err_set(e, EINVAL, "%s: \"%.60s\" is not a user or group number", option,
			       text);
	*ret = (struct oci_opt_u32){ .set = true, .v = (uint32_t)v };
	return 0;
}

int exec_parse_user(const char *text, struct oci_opt_u32 *ret_uid, struct oci_opt_u32 *ret_gid,
		    struct err *e)
{
	size_t len = strcspn(text, ":");
	struct oci_opt_u32 uid = { 0 }, gid = { 0 };
	int r = parse_id("--user", text, len, &uid, e);

	if (r == 0 && text[len])
		r = parse_id("--user", text + len + 1, strlen(text + len + 1), &gid, e);
	if (r < 0)
		return r;
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}

static int parse_gids(const struct oci_words *words, uint32_t **ret, struct err *e)
{
	uint32_t *gids AUTO_FREE = calloc(words->n + 1, sizeof(*gids));
	int r = gids ? 0 : err_errno(e, ENOMEM, "--additional-gids");

	for (size_t i = 0; r == 0 && i < words->n; i++) {
		struct oci_opt_u32 gid = { 0 };

		r = parse_id("--additional-gids", words->v[i], strlen(words->v[i]), &gid, e);
		gids[i] = gid.v;
	}
	if (r == 0)
		*ret = take_ptr(&gids);
	return r;
}

struct document {
	char *json;
	size_t len;
	bool terminal;
};

static void own_document_done_(struct document *d)
{
	free(d->json);
}

static int from_file(const struct exec_request *req, struct oci_config **ret, struct err *e)
{
	char *text AUTO_FREE = NULL;
	size_t len;
	int r = io_read_file(AT_FDCWD, req->process_file, OCI_CONFIG_BYTES_MAX, &text, &len, e);

	if (r == 0 && (r = oci_process_parse(text, len, ret, e)) < 0)
		return err_wrap(e, "%s", req->process_file);
	return r;
}

static int from_bundle(const struct exec_request *req, const struct store_container *c,
		       struct oci_config **ret, struct err *e)
{
	char *rootfs AUTO_FREE = NULL;

	if (!req->change.args.n)
		return err_set(e, EINVAL, "process args cannot be empty");
	for (size_t i = 0; i < req->change.env.n; i++)
		if (!strchr(req->change.env.v[i], '=') || req->change.env.v[i][0] == '=')
			return err_set(e, EINVAL, "--env: \"%.60s\" is not NAME=VALUE",
				       req->change.env.v[i]);
	if (req->change.cwd && req->change.cwd[0] != '/')
		return err_set(e, EINVAL, "--cwd: \"%.200s\" is not an absolute path",
			       req->change.cwd);
	return bundle_read(c->bundle, ret, &rootfs, e);
}

// The process object that the guest is given. A terminal in the foreground has the size of the caller's.
static int describe(const struct exec_request *req, const struct store_container *c,
		    const struct tty *tty, struct document *ret, struct err *e)
{
	struct oci_config *config AUTO(oci_config_free) = NULL;
	struct oci_process_change ch = { 0 };
	uint32_t *gids AUTO_FREE = NULL;
	int r = req->process_file ? from_file(req, &config, e) : from_bundle(req, c, &config, e);

	if (r < 0)
		return r;
	if (!req->process_file) {
		ch = req->change;
		r = req->user && *req->user ? exec_parse_user(req->user, &ch.uid, &ch.gid, e) : 0;
		r = r < 0 ? r : parse_gids(&req->gids, &gids, e);
		if (r < 0)
			return r;
		ch.gids = gids;
		ch.n_gids = req->gids.n;
	}
	ret->terminal = req->process_file ? config->process.terminal : ch.terminal;
	if (ret->terminal && !tty_size(tty->fd, &ch.width, &ch.height))
		ch.width = ch.height = 0;
	return oci_process_rewrite(config, &ch, &ret->json, &ret->len, e);
}

// ---- how to run it
static int check_terminal(const struct exec_request *req, bool terminal, struct err *e)
{
	if (req->terminal_on_stdio)
		return terminal ? 0 : err_set(e, EINVAL, "the process has no terminal");
	return tty_check(terminal, req->detach, req->console_socket, e);
}

struct flow {
	const struct exec_request *req;
	const struct document *doc;
	struct client *client;
	struct proxy_config proxy;
	char exec_id[80];
};

// What the proxy asks the supervisor about must be known there first.
static int announce(struct flow *f, pid_t proxy, struct err *e)
{
	struct client_exec x = {
		.id = f->req->id,
		.exec_id = f->exec_id,
		.proxy = proxy,
		.terminal = f->doc->terminal,
		.ignore_paused = f->req->ignore_paused,
		.process = f->doc->json,
		.process_len = f->doc->len,
		.cgroup = f->req->cgroup,
	};

	return client_exec(f->client, &x, e);
}

static int tell_pid(const struct exec_request *req, pid_t pid, struct err *e)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%ld", (long)pid), r = 0;

	if (req->pidfd_socket)
		r = tty_send_pidfd(req->pidfd_socket, pid, e);
	if (r == 0 && req->pid_file)
		r = io_write_file(AT_FDCWD, req->pid_file, digits, (size_t)n, 0644, e);
	return r;
}

// This process is the proxy.
static int in_process(struct flow *f, struct tty *tty, uint32_t *ret_code, struct err *e)
{
	struct proxy *p AUTO(proxy_free) = NULL;
	int r = announce(f, getpid(), e);

	if (r < 0 || (r = proxy_new(&f->proxy, &p, e)) < 0 ||
	    (r = tell_pid(f->req, getpid(), e)) < 0 || (r = tty_make_raw(tty, e)) < 0 ||
	    (r = client_exec_start(f->client, f->req->id, f->exec_id, e)) < 0 ||
	    (r = proxy_connect(p, e)) < 0)
		return r;
	*ret_code = proxy_run(p);
	return 0;
}

static int with_child(struct flow *f, struct proxy_child *child, struct err *e)
{
	int r = proxy_fork(&f->proxy, child, e);

	if (r < 0 ||
	    (r = host_place_join(f->req->root, f->req->id, f->proxy.pod, child->pid, e)) < 0 ||
	    (r = announce(f, child->pid, e)) < 0 || (r = proxy_fork_go(child, e)) < 0 ||
	    (r = client_exec_start(f->client, f->req->id, f->exec_id, e)) < 0)
		return r;
	return tell_pid(f->req, child->pid, e);
}

static int detached(struct flow *f, struct err *e)
{
	struct proxy_child child = { .sock = -1 };
	int r = with_child(f, &child, e);

	if (r < 0)
		proxy_fork_kill(&child); // and with it the process
	return r;
}

static int run(const struct exec_request *req, const struct store_container *c,
	       const struct document *doc, struct tty *tty, uint32_t *ret_code, struct err *e)
{
	struct client *cl AUTO(client_close) = NULL;
	struct flow f = { .req = req,
			  .doc = doc,
			  .proxy = { .root = req->root,
				     .pod = c->pod,
				     .id = req->id,
				     .release = req->detach,
				     .terminal = doc->terminal,
				     .tty_fd = req->terminal_on_stdio ? -1
					       : req->detach          ? STDIN_FILENO
								      : tty->fd,
				     .console_socket = req->console_socket } };
	int r = store_process_alive(&c->supervisor) ? client_open(req->root, c->pod, &cl, e)
						    : -ECONNREFUSED;

	if (r < 0)
		return err_set(e, EBUSY, "cannot exec in a stopped container");
	// Unique among all execs of a container.
	if (req->exec_id && strlen(req->exec_id) >= sizeof(f.exec_id))
		return err_set(e, EINVAL, "--exec-id: longer than %zu bytes",
			       sizeof(f.exec_id) - 1);
	if (req->exec_id)
		(void)snprintf(f.exec_id, sizeof(f.exec_id), "%s", req->exec_id); // fits
	else
		(void)snprintf(f.exec_id, sizeof(f.exec_id), "exec-%ld-%lld", (long)getpid(),
			       (long long)io_now_ns()); // fits
	f.client = cl;
	f.proxy.exec_id = f.exec_id;
	return req->detach ? detached(&f, e) : in_process(&f, tty, ret_code, e);
}

static int exec_in(const struct exec_request *req, const struct store_container *c,
		   uint32_t *ret_code, struct err *e)
{
	struct document doc __attribute__((cleanup(own_document_done_))) = { 0 };
	struct tty tty AUTO(tty_done_at) = { .fd = -1 };
	int r;

	if (!req->detach)
		(void)tty_open(&tty); // needed only if there is to be a terminal
	if ((r = describe(req, c, &tty, &doc, e)) < 0 ||
	    (r = check_terminal(req, doc.terminal, e)) < 0)
		return r;
	if (!doc.terminal)
		tty_done(&tty);
	else if (!req->detach && tty.fd < 0)
		return tty_missing(e);
	return run(req, c, &doc, &tty, ret_code, e);
}

int exec_run(const struct exec_request *req, uint32_t *ret_code, struct err *e)
{
	struct store_container c = { 0 };
	int r = store_check_id(req->id, e);

	if (r < 0 || (r = store_container_read(req->root, req->id, &c, e)) < 0)
		return r;
	r = exec_in(req, &c, ret_code, e);
	store_container_done(&c);
	return r;
}
