// SPDX-License-Identifier: Apache-2.0
#include "runtime/hook_output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"

enum { READ_BYTES = 4096, READS_AT_END = 16 }; // a pipe holds 64 KiB

int hook_output_init(struct hook_output *o)
{
	int pair[2];

	*o = (struct hook_output){ .fd = -1, .child_fd = -1 };
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	o->fd = pair[0];
	o->child_fd = pair[1];
	if (fcntl(o->fd, F_SETFL, O_NONBLOCK) < 0) {
		int r = -errno;

		hook_output_done(o);
		return r;
	}
	return 0;
}

void hook_output_forked(struct hook_output *o)
{
	close_fd(take_fd(&o->child_fd));
}

// The end of what is kept and what is new.
static void keep(struct hook_output *o, const char *bytes, size_t n)
{
	size_t stay = o->len;

	if (n > HOOK_OUTPUT_BYTES) {
		bytes += n - HOOK_OUTPUT_BYTES;
		n = HOOK_OUTPUT_BYTES;
	}
	if (stay + n > HOOK_OUTPUT_BYTES)
		stay = HOOK_OUTPUT_BYTES - n;
	memmove(o->text, o->text + (o->len - stay), stay);
	memcpy(o->text + stay, bytes, n);
	o->len = stay + n;
}

// One read: what it returned.
static ssize_t read_some(struct hook_output *o)
{
	char bytes[READ_BYTES];
	ssize_t n = read(o->fd, bytes, sizeof(bytes));

	if (n > 0)
		keep(o, bytes, (size_t)n);
	return n;
}

bool hook_output_read(struct hook_output *o)
{
	ssize_t n = read_some(o);

	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

const char *hook_output_text(struct hook_output *o)
{
	// What it has left running may hold the pipe open and print on: no waiting for its end.
	for (int i = 0; i < READS_AT_END; i++)
		if (read_some(o) <= 0)
			break;
	while (o->len > 0 && o->text[o->len - 1] == '\n')
		o->len--;
	o->text[o->len] = '\0';
	return o->text;
}

void hook_output_done(struct hook_output *o)
{
	close_fd(take_fd(&o->fd));
	close_fd(take_fd(&o->child_fd));
}
