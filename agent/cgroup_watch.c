// SPDX-License-Identifier: Apache-2.0
// The kernel's news of the groups: it marks cgroup.events and memory.events as modified, and they say the rest.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/cgroup_priv.h"
#include "base/err.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/own.h"

// needs CONFIG_INOTIFY_USER

static const char *const files[2] = { "cgroup.events", "memory.events" };

static uint64_t value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return strtoull(line + len + 1, NULL, 10);
	}
	return 0;
}

static void check_memory(struct cgroup *g)
{
	char *text AUTO_FREE = NULL;
	uint64_t kills;

	if (io_read_file(g->fd, "memory.events", 4096, &text, NULL, NULL) < 0)
		return; // without the controller there is no limit to meet
	kills = value_of(text, "oom_kill");
	if (kills > g->oom_kills && !g->ending)
		g->all->on_oom(g->all->arg, g);
	g->oom_kills = kills;
}

static void check_events(struct cgroup *g)
{
	char *text AUTO_FREE = NULL;

	if (io_read_file(g->fd, "cgroup.events", 4096, &text, NULL, NULL) == 0)
		cgroup_look(g, value_of(text, "frozen"), value_of(text, "populated"));
}

void cgroup_check(struct cgroup *g)
{
	check_memory(g);
	check_events(g);
}

static void on_news(void *arg, uint32_t events)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct cgroups *all = arg;
	ssize_t n = read(all->fd, buf, sizeof(buf));

	(void)events;
	for (ssize_t at = 0; at < n;) {
		struct inotify_event ev;

		memcpy(&ev, buf + at, sizeof(ev));
		at += (ssize_t)(sizeof(ev) + ev.len);
		for (struct cgroup *g = all->first, *next; g; g = next) {
			next = g->next;
			if (g->wd[1] == ev.wd)
				check_memory(g);
			else if (g->wd[0] == ev.wd)
				check_events(g);
		}
	}
}

int cgroups_new(struct loop *l, void (*on_oom)(void *arg, struct cgroup *g), void *arg,
		struct cgroups **ret, struct err *e)
{
	struct cgroups *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return err_errno(e, ENOMEM, "cgroups");
	*all = (struct cgroups){
		.loop = l, .on_oom = on_oom, .arg = arg, .agent_ns_fd = -1, .pod_ns_fd = -1
	};
	all->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	r = all->fd < 0 ? err_errno(e, errno, "inotify") : cgroups_prepare(all, e);
	r = r < 0 ? r : loop_add_fd(l, "cgroups", all->fd, EPOLLIN, on_news, all, NULL, e);
	if (r < 0) {
		close_fd(all->fd);
		close_fd(all->agent_ns_fd);
		close_fd(all->pod_ns_fd);
		free(all);
		return r;
	}
	*ret = all;
	return 0;
}

int cgroup_watch(struct cgroup *g, struct err *e)
{
	for (unsigned i = 0; i < 2; i++) {
		char path[64];

		// By the descriptor: the path may be longer than the kernel takes.
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", g->fd, files[i]); // fits
		g->wd[i] = inotify_add_watch(g->all->fd, path, IN_MODIFY);
		if (g->wd[i] < 0 && errno != ENOENT)
			return err_errno(e, errno, "watching %s of cgroup %s", files[i], g->path);
	}
	g->next = g->all->first;
	g->all->first = g;
	g->watched = true;
	return 0;
}

void cgroup_unwatch(struct cgroup *g)
{
	struct cgroup **at = &g->all->first;

	if (!g->watched)
		return;
	for (unsigned i = 0; i < 2; i++)
		(void)inotify_rm_watch(g->all->fd,
				       g->wd[i]); // of a removed file it is gone already
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	g->watched = false;
}
