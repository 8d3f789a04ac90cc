// SPDX-License-Identifier: Apache-2.0
// Small I/O helpers: full reads and writes, files, descriptors over unix sockets, fork+exec with fds by number.
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

// Reads exactly len bytes; a short stream is -EPIPE. Retries EINTR. Returns 0 or -errno.
int io_read_full(int fd, void *buf, size_t len);
int io_write_full(int fd, const void *buf, size_t len);

// Whole file, NUL-terminated in memory, at most max bytes (else -EFBIG). *ret_data is the caller's to free.
int io_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len,
		 struct err *e);
// To a temporary name in the same directory, then renamed over path.
int io_write_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
		  struct err *e);

// One message with up to IO_MAX_FDS descriptors. Returns bytes (0 = end of stream) or -errno. Received fds are
// close-on-exec and the caller's; *nfds is the room on entry and the count on return.
enum { IO_MAX_FDS = 16 };
ssize_t io_send_fds(int sock, const void *buf, size_t len, const int *fds, unsigned nfds);
ssize_t io_recv_fds(int sock, void *buf, size_t len, int *fds, unsigned *nfds);

// fork + exec. map[i] becomes descriptor i of the child (-1: closed, for i < 3: /dev/null); everything else is closed.
// The child is its own session, has default signal dispositions and an empty mask, and PR_SET_NO_NEW_PRIVS if
// IO_SPAWN_NNP is given. A failing exec comes back as this call's error. pidfd is close-on-exec and the caller's.
enum { IO_SPAWN_NNP = 1, IO_SPAWN_DROP_CAPS = 2, IO_SPAWN_PDEATH_KILL = 4 };
int io_spawn(const char *path, char *const argv[], char *const envp[], const int *map,
	     unsigned nmap, unsigned flags, pid_t *ret_pid, int *ret_pidfd, struct err *e);

int64_t io_now_ns(void); // CLOCK_MONOTONIC

#endif
