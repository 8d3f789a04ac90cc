// SPDX-License-Identifier: Apache-2.0
// Unix stream sockets below a directory. The address goes through /proc/self/fd, because sun_path holds 108 bytes and a
// state directory with a container's id in it can be longer.
#ifndef RUNTIME_USOCK_H
#define RUNTIME_USOCK_H

#include <stdint.h>

struct err;

// Removes what is there under that name first. The socket is close-on-exec, mode 0600 and the caller's.
int usock_listen(const char *dir, const char *name, struct err *e);
int usock_connect(const char *dir, const char *name, struct err *e);

// A connection to a port of the guest through the VMM's vsock.sock: connects and sends CONNECT. What the guest says is
// read by usock_guest_answer.
int usock_guest_connect(const char *pod_dir, uint32_t port, struct err *e);
// Reads the "OK <port>" line. 0 when it came, -ECONNREFUSED when nothing listens there (the VMM closes), -EAGAIN on a
// non-blocking socket without a whole line yet, other errors as they are. buf keeps the partial line between calls.
struct usock_line {
	char text[32];
	unsigned len;
};
int usock_guest_answer(int fd, struct usock_line *line);

#endif
