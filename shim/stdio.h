// SPDX-License-Identifier: Apache-2.0
// The ends of a process's standard streams as containerd names them: fifos, files, logging programs.
#ifndef SHIM_STDIO_H
#define SHIM_STDIO_H

#include <stdbool.h>

struct err;

// names as in the requests; fd[i] is for the process; the rest is held so that a fifo has a reader and a writer as long as
// the process lives, whoever comes and goes at its other end.
struct shim_stdio {
	char *in, *out, *err; // owned; "" for none
	bool terminal;
	int fd[3];   // -1: /dev/null
	int hold_in; // write end of stdin: closed by CloseIO
	int hold_out, hold_err;
};
#define SHIM_STDIO_NONE \
	((struct shim_stdio){ .fd = { -1, -1, -1 }, .hold_in = -1, .hold_out = -1, .hold_err = -1 })

int shim_stdio_init(struct shim_stdio *s, const char *in, const char *out, const char *err,
		    bool terminal, struct err *e);
// Opens what the names say. id, ns: for a logging program.
int shim_stdio_open(struct shim_stdio *s, const char *id, const char *ns, struct err *e);
void shim_stdio_given(struct shim_stdio *s); // the process has its ends
void shim_stdio_close_in(
	struct shim_stdio *s);               // the process sees the end once all writers have gone
void shim_stdio_close(struct shim_stdio *s); // readers see the end
void shim_stdio_done(struct shim_stdio *s);

#endif
