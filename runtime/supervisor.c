// SPDX-License-Identifier: Apache-2.0
#include "runtime/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "runtime/host_cgroup.h"
#include "runtime/host_place.h"
#include "runtime/service.h"
#include "runtime/share.h"
#include "runtime/store.h"
#include "runtime/tree.h"
#include "runtime/usock.h"

struct supervisor {
	const struct pod_config *cfg;
	struct host_place place;
	struct loop *loop;
	struct service *service;
	struct pod *pod;
	int channel_fd, listen_fd, log_fd;
	struct loop_source *channel_src;
	bool abandoned;
};

static void on_shutdown(void *arg)
{
	struct supervisor *s = arg;

	loop_stop(s->loop);
}

static void on_pod_ready(void *arg)
{
	struct supervisor *s = arg;

	service_pod_ready(s->service);
}

static void on_pod_gone(void *arg, const char *why)
{
	struct supervisor *s = arg;

	service_pod_gone(s->service, why);
}

static const struct pod_events pod_events = { .ready = on_pod_ready, .gone = on_pod_gone };

static void abandon(struct supervisor *s)
{
	s->abandoned = true;
	service_abandon(s->service);
}

static void on_channel(void *arg, uint32_t events)
{
	struct supervisor *s = arg;
	char c = 0;
	ssize_t n = read(s->channel_fd, &c, 1);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	loop_remove(s->channel_src);
	s->channel_src = NULL;
	close_fd(take_fd(&s->channel_fd));
	if (n != 1 || c != 'C')
		abandon(s);
}

static void on_term(void *arg, int signo)
{
	(void)signo;
	abandon(arg);
}

static int open_log(struct supervisor *s, struct err *e)
{
	char path[STORE_PATH_BYTES], name[128];
	int r = store_pod_path(s->cfg->root, s->cfg->id, "supervisor.log", path, e);

	if (r < 0)
		return r;
	s->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->log_fd < 0)
		return err_errno(e, errno, "open %s", path);
	(void)snprintf(name, sizeof(name), "supervisor/%s", s->cfg->id); // cut is fine
	log_init(name, s->log_fd, LOG_TEXT, s->cfg->debug ? LOG_DEBUG : LOG_INFO);
	return 0;
}

// Before anything is started: children are born into it.
static int enter_cgroup(struct supervisor *s, const char *dir, struct err *e)
{
	struct host_place_request q = {
		.manager = s->cfg->cgroup_manager,
		.bundle = s->cfg->bundle,
		.id = s->cfg->id,
		.record = dir,
		.guest_bytes = s->cfg->memory_bytes,
		.pid = getpid(),
	};

	return host_place_make(&q, &s->place, e);
}

static int begin(struct supervisor *s, struct err *e)
{
	char dir[STORE_PATH_BYTES];
	struct pod_config cfg = *s->cfg;
	int r = store_pod_path(s->cfg->root, s->cfg->id, NULL, dir, e);

	if (r < 0 || (r = tree_make_dirs(dir, 0700, e)) < 0 || (r = open_log(s, e)) < 0 ||
	    (r = enter_cgroup(s, dir, e)) < 0 || (r = share_enter(e)) < 0 ||
	    (r = loop_new(&s->loop, e)) < 0)
		return r;
	cfg.cgroup = s->place.cgroup;
	s->listen_fd = usock_listen(dir, "supervisor.sock", e);
	if (s->listen_fd < 0)
		return s->listen_fd;
	if ((r = service_new(s->loop, s->listen_fd, on_shutdown, s, &s->service, e)) < 0 ||
	    (r = loop_add_signal(s->loop, "SIGTERM", SIGTERM, on_term, s, NULL, e)) < 0 ||
	    (r = pod_boot(s->loop, &cfg, &pod_events, s, &s->pod, e)) < 0)
		return r;
	service_set_pod(s->service, s->pod, s->cfg->root);
	return loop_add_fd(s->loop, "channel", s->channel_fd, EPOLLIN, on_channel, s,
			   &s->channel_src, e);
}

// Nobody else does it when the starter is gone. When it lives, it holds the lock and does it.
static void remove_state(const struct supervisor *s)
{
	char share[STORE_PATH_BYTES];
	int lock = store_lock(s->cfg->root, s->cfg->id, true, NULL);

	if (lock < 0)
		return;
	if (store_pod_path(s->cfg->root, s->cfg->id, "share", share, NULL) == 0)
		(void)umount2(share, MNT_DETACH | UMOUNT_NOFOLLOW); // ours, in our own namespace
	(void)store_remove(s->cfg->root, s->cfg->id, NULL); // a delete --force finds what is left
	close_fd(lock);
}

int supervisor_run(const struct pod_config *cfg, int channel_fd)
{
	struct supervisor s = {
		.cfg = cfg, .channel_fd = channel_fd, .listen_fd = -1, .log_fd = -1
	};
	struct err e = { 0 };
	int r = begin(&s, &e);

	if (r < 0) {
		char text[sizeof(e.msg) + 1];
		int n = snprintf(text, sizeof(text), "E%s", e.msg);

		(void)send(channel_fd, text, (size_t)n,
			   MSG_NOSIGNAL); // a starter that is gone needs no reason
	} else {
		(void)send(channel_fd, "R", 1, MSG_NOSIGNAL); // its end is noticed by the loop
		r = loop_run(s.loop, &e);
		if (r < 0)
			log_error("%s", e.msg);
	}
	pod_free(s.pod);
	service_free(s.service);
	loop_free(s.loop);
	if (s.abandoned && s.place.cgroup)
		host_cgroup_leave(s.place.cgroup); // what we are in cannot be removed
	if (s.abandoned)
		remove_state(&s);
	host_place_done(&s.place);
	close_fd(s.listen_fd);
	close_fd(s.channel_fd);
	return r;
}
