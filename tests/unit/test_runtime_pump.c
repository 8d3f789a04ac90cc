// SPDX-License-Identifier: Apache-2.0
// The pump: every byte in order with back-pressure, ends at the end of input and at a reader that is gone, files.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "runtime/pump.h"

enum { TOTAL = 3 << 20 };

static void on_end(void *arg)
{
	(*(unsigned *)arg)++;
}

struct ends {
	struct loop *loop;
	int source, sink; // ours
	size_t written, read;
	bool slow;
};

static void feed(struct ends *x)
{
	uint8_t b[8192];

	while (x->source >= 0 && x->written < TOTAL) {
		size_t want = TOTAL - x->written < sizeof(b) ? TOTAL - x->written : sizeof(b);
		ssize_t n;

		for (size_t i = 0; i < want; i++)
			b[i] = (uint8_t)((x->written + i) * 31 % 251);
		n = write(x->source, b, want);
		if (n < 0)
			break;
		x->written += (size_t)n;
	}
	if (x->source >= 0 && x->written == TOTAL) {
		(void)close(x->source); // the end
		x->source = -1;
	}
}

static void drain(struct ends *x)
{
	uint8_t b[5000];
	ssize_t n = read(x->sink, b, x->slow ? 700 : sizeof(b));

	for (ssize_t i = 0; i < n; i++) {
		if (b[i] != (uint8_t)((x->read + (size_t)i) * 31 % 251))
			fail_msg("byte %zu differs", x->read + (size_t)i);
	}
	if (n > 0)
		x->read += (size_t)n;
}

static void copies(bool slow, bool socket)
{
	struct pump *p = calloc(1, sizeof(*p));
	struct ends x = { .slow = slow };
	unsigned ended = 0;
	int in[2], out[2];
	struct err e;

	assert_non_null(p);
	assert_int_equal(loop_new(&x.loop, &e), 0);
	assert_int_equal(
		socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, in) : pipe2(in, 0), 0);
	assert_int_equal(pipe2(out, 0), 0);
	x.source = in[1];
	x.sink = out[0];
	assert_int_equal(fcntl(x.source, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(x.sink, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(pump_init(p, x.loop, "test", in[0], out[1], on_end, &ended, &e), 0);
	while (!ended) {
		feed(&x);
		assert_int_equal(loop_once(x.loop, 0, &e), 0);
		drain(&x);
		// Never more in flight than pipes and one buffer hold: what is not written is not read.
		assert_true(x.written - x.read <=
			    PUMP_BYTES + 2 * 65536 + (socket ? 512 * 1024 : 0));
	}
	for (int i = 0; i < 2000 && x.read < TOTAL; i++)
		drain(&x);
	assert_int_equal(x.read, TOTAL);
	assert_int_equal(ended, 1);
	pump_done(p);
	loop_free(x.loop);
	(void)close(in[0]);  // test's end
	(void)close(out[0]); // as above
	(void)close(out[1]); // as above
	free(p);
}

static void pipes(void **state)
{
	(void)state;
	copies(false, false);
}

static void slow_reader(void **state)
{
	(void)state;
	copies(true, false);
}

static void sockets(void **state)
{
	(void)state;
	copies(false, true);
}

static void reader_gone(void **state)
{
	struct pump *p = calloc(1, sizeof(*p));
	struct loop *l = NULL;
	unsigned ended = 0;
	int in[2], out[2];
	struct err e;

	(void)state;
	assert_non_null(p);
	assert_int_equal(loop_new(&l, &e), 0);
	assert_int_equal(pipe2(in, 0), 0);
	assert_int_equal(pipe2(out, 0), 0);
	assert_int_equal(pump_init(p, l, "test", in[0], out[1], on_end, &ended, &e), 0);
	assert_int_equal(write(in[1], "x", 1), 1);
	assert_int_equal(close(out[0]), 0);
	for (int i = 0; i < 10 && !ended; i++)
		assert_int_equal(loop_once(l, 1000, &e), 0);
	assert_int_equal(ended, 1);
	pump_done(p);
	loop_free(l);
	(void)close(in[0]);  // test's end
	(void)close(in[1]);  // as above
	(void)close(out[1]); // as above
	free(p);
}

// A regular file as input and /dev/null as output refuse epoll.
static void files(void **state)
{
	struct pump *p = calloc(1, sizeof(*p));
	struct loop *l = NULL;
	unsigned ended = 0;
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
	    null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct err e;

	(void)state;
	assert_non_null(p);
	assert_true(in >= 0 && null >= 0);
	assert_int_equal(loop_new(&l, &e), 0);
	assert_int_equal(pump_init(p, l, "test", in, null, on_end, &ended, &e), 0);
	for (int i = 0; i < 100000 && !ended; i++)
		assert_int_equal(loop_once(l, 1000, &e), 0);
	assert_int_equal(ended, 1);
	assert_int_equal(lseek(in, 0, SEEK_CUR), lseek(in, 0, SEEK_END));
	pump_done(p);
	loop_free(l);
	(void)close(in);   // test's end
	(void)close(null); // as above
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pipes),   cmocka_unit_test(slow_reader),
		cmocka_unit_test(sockets), cmocka_unit_test(reader_gone),
		cmocka_unit_test(files),
	};

	(void)signal(SIGPIPE, SIG_IGN); // as the programs do
	return cmocka_run_group_tests(tests, NULL, NULL);
}
