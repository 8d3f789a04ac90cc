// SPDX-License-Identifier: Apache-2.0
// The virtio-fs server: answers the guest's FUSE requests from one directory of the host, and the vhost-user back end
// that feeds it. Meant for a process of its own (runtime/fs_main.c).
#ifndef VMM_FS_FS_H
#define VMM_FS_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;
struct loop;
struct fs_server;
struct fs_backend;

enum fs_cache {
	FS_CACHE_AUTO,   // names and attributes for 1 s, file data until size or mtime change
	FS_CACHE_NONE,   // ask every time, drop file data at each open
	FS_CACHE_ALWAYS, // a day: only right if nobody but this guest changes the share
};

// Limits on what a guest can make the server hold.
enum {
	FS_INODES_MAX = 1 << 20,        // names the guest remembers: ENFILE beyond
	FS_REQUEST_SEGMENTS_MAX = 1024, // buffers of one request, each way
	FS_WRITE_MAX = 1 << 20,         // bytes of one READ or WRITE
	FS_FDS_MIN = 128,               // fewest descriptors the server can work with
};

struct fs_options {
	enum fs_cache cache;
	bool readonly;
	// Descriptors the server may have open at a time (files the guest has open, and the cache of places in the tree).
	// 0: the process's RLIMIT_NOFILE, less some for others. At least FS_FDS_MIN.
	unsigned fds_max;
	int proc_fd; // /proc/self/fd, borrowed for the server's life; -1: open it now
};

// share_fd (borrowed for the call) is the directory that is served; nothing outside is reached, whatever its symbolic
// links say. With CAP_SETUID and CAP_SETGID new files belong to the guest's process that makes them, else to this
// process. The process's umask should be 0. One thread.
int fs_server_new(int share_fd, const struct fs_options *opt, struct fs_server **ret_server,
		  struct err *e);
void fs_server_free(struct fs_server *s);

// Answers one FUSE request: in holds the request, out takes the reply (both may be guest memory, which is read once).
// Returns the bytes written to out: 0 if the request has no reply (FORGET), or if out cannot even hold an error.
size_t fs_server_handle(struct fs_server *s, const struct iovec *in, unsigned nin,
			const struct iovec *out, unsigned nout);

struct fs_counters {
	uint64_t requests, errors;
	unsigned inodes, handles, fds;
};
void fs_server_get_counters(const struct fs_server *s, struct fs_counters *ret);

// vhost-user back end on a connected socket (borrowed, blocking): high priority and request queues for server.
// on_end is called once, from the loop, when the front end has gone (code 0) or broken the protocol (positive errno);
// text is valid during the call.
int fs_backend_new(struct loop *loop, int sock, struct fs_server *server,
		   void (*on_end)(void *arg, int code, const char *text), void *arg,
		   struct fs_backend **ret_backend, struct err *e);
void fs_backend_free(struct fs_backend *b);

// From here on this process (one thread) makes no system calls but those of a running server and its loop, and gains no
// privileges. Last step before loop_run.
int fs_seccomp(struct err *e);

#endif
