// SPDX-License-Identifier: Apache-2.0
// The serial port: what is sent comes out, the divisor latch does not, the transmitter is always ready.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/bus.h"
#include "vmm/chip/serial.h"

enum { THR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct rig {
	struct bus *bus;
	struct serial *serial;
	int out[2];
};

static uint8_t in(struct rig *x, unsigned r)
{
	uint8_t v = 0x5a;

	bus_read(x->bus, BUS_PIO, SERIAL_PORT + r, &v, 1);
	return v;
}

static void out(struct rig *x, unsigned r, uint8_t v)
{
	bus_write(x->bus, BUS_PIO, SERIAL_PORT + r, &v, 1);
}

// What has come out since the last call.
static void came(struct rig *x, const char *want)
{
	char b[64] = "";
	ssize_t n = read(x->out[0], b, sizeof(b) - 1);

	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	assert_string_equal(b, want);
}

static void rig_open(struct rig *x, int fd)
{
	x->bus = bus_new();
	x->serial = serial_new(fd);
	assert_non_null(x->bus);
	assert_non_null(x->serial);
	assert_int_equal(
		bus_add(x->bus, BUS_PIO, SERIAL_PORT, SERIAL_PORTS, &serial_bus_ops, x->serial), 0);
}

static int setup(void **state)
{
	struct rig *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_int_equal(pipe2(x->out, O_CLOEXEC | O_NONBLOCK), 0);
	rig_open(x, x->out[1]);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct rig *x = *state;

	bus_free(x->bus);
	serial_free(x->serial);
	(void)close(x->out[0]); // nothing is lost that matters
	(void)close(x->out[1]);
	free(x);
	return 0;
}

static void transmits(void **state)
{
	struct rig *x = *state;

	for (const char *p = "Linux\n"; *p; p++) {
		assert_int_equal(in(x, LSR) & 0x60, 0x60);
		out(x, THR, (uint8_t)*p);
	}
	came(x, "Linux\n");
	// Wider accesses are one byte.
	bus_write(x->bus, BUS_PIO, SERIAL_PORT, "abcd", 4);
	came(x, "a");
	// The other registers send nothing.
	for (unsigned r = IER; r <= SCR; r++)
		out(x, r, 0x02);
	came(x, "");
}

static void divisor_latch(void **state)
{
	struct rig *x = *state;

	out(x, IER, 0x05);
	out(x, LCR, 0x83);
	assert_int_equal(in(x, LCR), 0x83);
	out(x, THR, 'X');
	out(x, IER, 0xab);
	came(x, "");
	assert_int_equal(in(x, THR), 'X');
	assert_int_equal(in(x, IER), 0xab);
	out(x, LCR, 0x03);
	assert_int_equal(in(x, THR), 0); // no input
	assert_int_equal(in(x, IER), 0x05);
	out(x, THR, 'Y');
	came(x, "Y");
	out(x, LCR, 0x80);
	assert_int_equal(in(x, THR), 'X'); // kept
}

static void registers(void **state)
{
	struct rig *x = *state;
	uint32_t wide = 0xffffffff;

	assert_int_equal(in(x, LSR), 0x60);
	out(x, LSR, 0xff); // read only
	assert_int_equal(in(x, LSR), 0x60);
	assert_int_equal(in(x, LSR) & 1, 0); // no data
	out(x, SCR, 0xa5);
	assert_int_equal(in(x, SCR), 0xa5);
	out(x, IER, 0xff);
	assert_int_equal(in(x, IER), 0x0f);
	out(x, MCR, 0xff);
	assert_int_equal(in(x, MCR), 0x1f);
	assert_int_equal(in(x, IIR), 0x01); // nothing pending, no FIFO
	out(x, IIR, 0x01);
	assert_int_equal(in(x, IIR), 0xc1); // FIFO on
	assert_int_equal(in(x, MSR) & 0xb0, 0xb0);
	bus_read(x->bus, BUS_PIO, SERIAL_PORT + LSR, &wide, 2);
	assert_int_equal(wide, 0xffff0060); // all that was asked for is filled, no more
}

static void nobody_reads(void **state)
{
	struct rig *x = *state, none;

	for (unsigned i = 0; i < 70000; i++) // the pipe fills; the guest goes on
		out(x, THR, 'z');
	assert_int_equal(in(x, LSR), 0x60);
	rig_open(&none, -1);
	out(&none, THR, 'z');
	assert_int_equal(in(&none, LSR), 0x60);
	bus_free(none.bus);
	serial_free(none.serial);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(transmits, setup, teardown),
		cmocka_unit_test_setup_teardown(divisor_latch, setup, teardown),
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_reads, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm_serial", tests, NULL, NULL);
}
