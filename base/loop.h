// SPDX-License-Identifier: Apache-2.0
// The event loop: epoll on one thread. Handlers never block; each has a name.
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct err;
struct loop;
struct loop_source;

// events is a mask of EPOLLIN, EPOLLOUT (level-triggered); EPOLLHUP and EPOLLERR always come.
typedef void loop_fd_fn(void *arg, uint32_t events);
typedef void loop_timer_fn(void *arg);
typedef void loop_signal_fn(void *arg, int signo);

int loop_new(struct loop **ret_loop, struct err *e);
void loop_free(struct loop *l); // also frees the sources that are left; their fds stay the callers'

// fd is borrowed: it must stay open until the source is removed. name is borrowed (a literal).
int loop_add_fd(struct loop *l, const char *name, int fd, uint32_t events, loop_fd_fn *fn,
		void *arg, struct loop_source **ret_src, struct err *e);
int loop_mod_fd(struct loop_source *s, uint32_t events);

// One-shot timer; loop_timer_set arms it again (after_ms < 0 disarms).
int loop_add_timer(struct loop *l, const char *name, int after_ms, loop_timer_fn *fn, void *arg,
		   struct loop_source **ret_src, struct err *e);
int loop_timer_set(struct loop_source *s, int after_ms);

// Blocks signo in the calling thread (call before threads start) and delivers it to fn on the loop (signalfd).
int loop_add_signal(struct loop *l, const char *name, int signo, loop_signal_fn *fn, void *arg,
		    struct loop_source **ret_src, struct err *e);

// The same for several, through one descriptor.
int loop_add_signals(struct loop *l, const char *name, const sigset_t *set, loop_signal_fn *fn,
		     void *arg, struct loop_source **ret_src, struct err *e);

// Safe inside any handler, also for the source being handled. NULL is accepted.
void loop_remove(struct loop_source *s);

// Runs until loop_stop. loop_stop may be called from a handler only. Returns 0 or -errno.
int loop_run(struct loop *l, struct err *e);
void loop_stop(struct loop *l);

// Handles what is ready, waiting at most timeout_ms (-1: no limit). Returns 0 or -errno.
int loop_once(struct loop *l, int timeout_ms, struct err *e);

#endif
