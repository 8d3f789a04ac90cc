// SPDX-License-Identifier: Apache-2.0
// Terminals of the host: a pty whose other end goes to a --console-socket, or the caller's own terminal in raw mode.
#ifndef RUNTIME_TTY_H
#define RUNTIME_TTY_H

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct err;

// One message with one descriptor to the unix socket at path; option names it in errors.
int tty_send_fd(const char *option, const char *path, const char *text, int fd, struct err *e);
// --pidfd-socket: a pidfd of the process, which is there.
int tty_send_pidfd(const char *path, int pid, struct err *e);

// The rules and words of runc: who may have a terminal how.
int tty_check(bool terminal, bool detach, const char *console_socket, struct err *e);

// For a session leader without a terminal: makes a pty, sends its master to the socket, and puts the slave, raw, in place
// of the standard streams and as controlling terminal.
int tty_take_pty(const char *console_socket, struct err *e);

// The terminal of the caller: one of the standard streams, or /dev/tty.
struct tty {
	int fd; // -1: none
	bool raw, owned;
	struct termios before;
};
bool tty_open(struct tty *t);   // false: it has none
int tty_missing(struct err *e); // the error for that
int tty_make_raw(struct tty *t, struct err *e);
void tty_done(struct tty *t); // as it was before

// False when fd has no size to tell.
bool tty_size(int fd, uint16_t *ret_width, uint16_t *ret_height);

static inline void own_tty_done_at_(struct tty *t)
{
	tty_done(t);
}

#endif
