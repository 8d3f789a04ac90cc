// SPDX-License-Identifier: Apache-2.0
// The IOAPIC: its registers by the bus, the routes that its entries become, its lines; and the test device that raises them.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vmm/bus.h"
#include "vmm/chip/ioapic.h"
#include "vmm/chip/testdev.h"

enum { SELECT = 0x00, WINDOW = 0x10, EOI = 0x40, MASKED = 1 << 16, LEVEL = 1 << 15 };

struct rig {
	struct bus *bus;
	struct ioapic *chip;
	struct hv_route routes[IOAPIC_PINS]; // of the last update
	unsigned count, updates;
	uint32_t sent_to, sent; // the last message by a line
	unsigned sends;
	struct testdev testdev;
	unsigned extint, extints;
};

static void on_update(void *arg, const struct hv_route *routes, unsigned count)
{
	struct rig *x = arg;
	struct hv_route now[IOAPIC_PINS];

	assert_true(count <= IOAPIC_PINS);
	memcpy(x->routes, routes, count * sizeof(*routes));
	x->count = count;
	x->updates++;
	assert_int_equal(ioapic_routes(x->chip, now), count); // no lock is held
}

static void on_send(void *arg, uint32_t address, uint32_t data)
{
	struct rig *x = arg;

	x->sent_to = address;
	x->sent = data;
	x->sends++;
	(void)ioapic_routes(x->chip, (struct hv_route[IOAPIC_PINS]){ 0 }); // no lock is held
}

static void on_extint(void *arg, uint8_t vector)
{
	struct rig *x = arg;

	x->extint = vector;
	x->extints++;
}

static uint32_t get(struct rig *x, unsigned off)
{
	uint32_t v = 0xdeadbeef;

	bus_read(x->bus, BUS_MMIO, IOAPIC_BASE + off, &v, 4);
	return v;
}

static void put(struct rig *x, unsigned off, uint32_t v)
{
	bus_write(x->bus, BUS_MMIO, IOAPIC_BASE + off, &v, 4);
}

static uint32_t get_index(struct rig *x, unsigned index)
{
	put(x, SELECT, index);
	return get(x, WINDOW);
}

static void put_index(struct rig *x, unsigned index, uint32_t v)
{
	put(x, SELECT, index);
	put(x, WINDOW, v);
}

static int setup(void **state)
{
	struct rig *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->bus = bus_new();
	x->chip = ioapic_new(on_update, on_send, x);
	assert_non_null(x->bus);
	assert_non_null(x->chip);
	assert_int_equal(
		bus_add(x->bus, BUS_MMIO, IOAPIC_BASE, IOAPIC_BYTES, &ioapic_bus_ops, x->chip), 0);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct rig *x = *state;

	ioapic_free(x->chip);
	bus_free(x->bus);
	free(x);
	return 0;
}

static void registers(void **state)
{
	struct rig *x = *state;
	uint8_t wide[8], byte = 0x01;

	put_index(x, 0, 0xffffffff);
	assert_int_equal(get_index(x, 0), 0x0f000000);
	assert_int_equal(get_index(x, 2), 0x0f000000); // arbitration follows the id
	assert_int_equal(get_index(x, 1), 0x00170020); // 24 pins, version 0x20
	put_index(x, 1, 0);
	assert_int_equal(get_index(x, 1), 0x00170020);
	for (unsigned i = 0; i < IOAPIC_PINS; i++) { // as after reset
		assert_int_equal(get_index(x, 0x10 + 2 * i), MASKED);
		assert_int_equal(get_index(x, 0x11 + 2 * i), 0);
	}
	put_index(x, 0x10 + 2 * IOAPIC_PINS, 0x12345678); // no such pin
	assert_int_equal(get_index(x, 0x10 + 2 * IOAPIC_PINS), 0);
	put_index(x, 0xff, 0x12345678);
	assert_int_equal(get_index(x, 0xff), 0);
	put(x, SELECT, 0x101); // eight bits
	assert_int_equal(get(x, SELECT), 1);
	assert_int_equal(get(x, 0x20), 0); // no register
	bus_write(x->bus, BUS_MMIO, IOAPIC_BASE + SELECT, &byte, 1);
	memset(wide, 0xee, sizeof(wide));
	bus_read(x->bus, BUS_MMIO, IOAPIC_BASE + WINDOW, wide, 8);
	assert_memory_equal(wide, "\x20\x00\x17\x00\x00\x00\x00\x00", 8);
	assert_int_equal(x->updates, 0);
}

static void mask(void **state)
{
	struct rig *x = *state;
	struct hv_route routes[IOAPIC_PINS];

	put_index(x, 0x10 + 2 * 5, MASKED | 0x31);
	put_index(x, 0x11 + 2 * 5, 2u << 24);
	assert_int_equal(x->updates, 0); // masked still
	assert_int_equal(ioapic_routes(x->chip, routes), 0);
	put_index(x, 0x10 + 2 * 5, 0x31);
	assert_int_equal(x->updates, 1);
	assert_int_equal(x->count, 1);
	assert_int_equal(x->routes[0].gsi, 5);
	assert_int_equal(x->routes[0].address, 0xfee02000);
	assert_int_equal(x->routes[0].data, 0x31);
	put_index(x, 0x10 + 2 * 5, 0x31); // the same
	assert_int_equal(x->updates, 1);
	put_index(x, 0x10 + 2 * 23, 0x42);
	assert_int_equal(x->updates, 2);
	assert_int_equal(x->count, 2);
	assert_int_equal(x->routes[1].gsi, 23);
	assert_int_equal(x->routes[1].data, 0x42);
	put_index(x, 0x10 + 2 * 5, MASKED | 0x31);
	assert_int_equal(x->updates, 3);
	assert_int_equal(x->count, 1);
	assert_int_equal(x->routes[0].gsi, 23);
	put_index(x, 0x10 + 2 * 23, MASKED | 0x42);
	assert_int_equal(x->updates, 4);
	assert_int_equal(x->count, 0);
}

static void message_fields(void **state)
{
	struct rig *x = *state;

	put_index(x, 0x11, 0xff000000);
	put_index(x, 0x10, 0x0930 | LEVEL); // lowest priority, logical
	assert_int_equal(x->count, 1);
	assert_int_equal(x->routes[0].gsi, 0);
	assert_int_equal(x->routes[0].address, 0xfeeff004);
	assert_int_equal(x->routes[0].data, 0xc130);
	put_index(x, 0x10, 0x0130); // physical, edge
	assert_int_equal(x->routes[0].address, 0xfeeff000);
	assert_int_equal(x->routes[0].data, 0x0130);
	put_index(x, 0x11, 0x03000000); // moved while unmasked
	assert_int_equal(x->updates, 3);
	assert_int_equal(x->routes[0].address, 0xfee03000);
	assert_int_equal(get_index(x, 0x11), 0x03000000);
	assert_int_equal(get_index(x, 0x10), 0x0130);
}

static void all_pins(void **state)
{
	struct rig *x = *state;

	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		put_index(x, 0x10 + 2 * i, 0x30 + i);
	assert_int_equal(x->updates, IOAPIC_PINS);
	assert_int_equal(x->count, IOAPIC_PINS);
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		assert_int_equal(x->routes[i].gsi, i);
		assert_int_equal(x->routes[i].data, 0x30 + i);
	}
}

// Delivery status and remote IRR belong to the chip; an EOI changes nothing else and makes no new routes.
static void eoi(void **state)
{
	struct rig *x = *state;

	put_index(x, 0x10, 0x5000 | LEVEL | 0x60);
	assert_int_equal(get_index(x, 0x10), LEVEL | 0x60);
	put_index(x, 0x12, 0x61);
	assert_int_equal(x->updates, 2);
	put(x, EOI, 0x60);
	ioapic_eoi(x->chip, 0x60);
	ioapic_eoi(x->chip, 0x61); // edge
	ioapic_eoi(x->chip, 0xff); // nobody's
	assert_int_equal(get_index(x, 0x10), LEVEL | 0x60);
	assert_int_equal(get_index(x, 0x12), 0x61);
	assert_int_equal(x->updates, 2);
}

// ---- lines
enum { IRR = 1 << 14 };

static void edge_line(void **state)
{
	struct rig *x = *state;

	ioapic_set_line(x->chip, 3, true); // masked: lost
	put_index(x, 0x17, 0x02000000);
	put_index(x, 0x16, 0x43);
	assert_int_equal(x->sends, 0);
	ioapic_set_line(x->chip, 3, true); // no edge
	assert_int_equal(x->sends, 0);
	for (unsigned i = 1; i < 3; i++) {
		ioapic_set_line(x->chip, 3, false);
		ioapic_set_line(x->chip, 3, true);
		assert_int_equal(x->sends, i);
	}
	assert_int_equal(x->sent_to, 0xfee02000);
	assert_int_equal(x->sent, 0x43);
	assert_int_equal(get_index(x, 0x16), 0x43); // remote IRR is for levels
}

static void level_line(void **state)
{
	struct rig *x = *state;

	put_index(x, 0x16, LEVEL | 0x43);
	ioapic_set_line(x->chip, 3, true);
	ioapic_set_line(x->chip, 3, true);
	assert_int_equal(x->sends, 1);
	assert_int_equal(x->sent, 0xc043);
	assert_int_equal(get_index(x, 0x16), LEVEL | IRR | 0x43);
	ioapic_eoi(x->chip, 0x43); // still asserted: again
	assert_int_equal(x->sends, 2);
	ioapic_set_line(x->chip, 3, false);
	assert_int_equal(get_index(x, 0x16), LEVEL | IRR | 0x43);
	put(x, EOI, 0x43);
	assert_int_equal(get_index(x, 0x16), LEVEL | 0x43);
	assert_int_equal(x->sends, 2);
}

static void level_line_masked(void **state)
{
	struct rig *x = *state;

	put_index(x, 0x16, MASKED | LEVEL | 0x43);
	ioapic_set_line(x->chip, 3, true);
	assert_int_equal(x->sends, 0);
	put_index(x, 0x16, LEVEL | 0x43); // waits for this
	assert_int_equal(x->sends, 1);
	put_index(x, 0x16, MASKED | LEVEL | 0x43);
	ioapic_eoi(x->chip, 0x43);
	assert_int_equal(x->sends, 1);
	put_index(x, 0x16, LEVEL | 0x43);
	assert_int_equal(x->sends, 2);
	put_index(x, 0x16, 0x43); // an edge entry has no remote IRR
	assert_int_equal(get_index(x, 0x16), 0x43);
}

// ---- the test device
static void out(struct rig *x, unsigned port, uint32_t v, unsigned len)
{
	bus_write(x->bus, BUS_PIO, port, &v, len);
}

static void test_lines(void **state)
{
	struct rig *x = *state;
	uint8_t v;

	x->testdev.ioapic = x->chip;
	x->testdev.extint = on_extint;
	x->testdev.arg = x;
	assert_int_equal(testdev_add(&x->testdev, x->bus), 0);
	put_index(x, 0x10 + 2 * 23, 0x43);
	out(x, 0x2000 + 23, 1, 1);
	assert_int_equal(x->sends, 1);
	assert_int_equal(x->extints, 0); // the 8259s have 16
	out(x, 0x200b, 1, 4);
	out(x, 0x200b, 1, 4);
	assert_int_equal(x->extints, 1);
	assert_int_equal(x->extint, 0x73);
	bus_read(x->bus, BUS_PIO, 0x200b, &v, 1);
	assert_int_equal(v, 1);
	out(x, 0x200b, 0, 4);
	out(x, 0x2003, 1, 1);
	assert_int_equal(x->extint, 0x0b);
	out(x, 0xa1, 0xff, 1);
	out(x, 0x200b, 1, 1);
	assert_int_equal(x->extints, 2);
	bus_read(x->bus, BUS_PIO, 0xa1, &v, 1);
	assert_int_equal(v, 0xff);
}

static void test_memory(void **state)
{
	const uint64_t word = 0x1122334455667788ull;
	struct rig *x = *state;
	uint64_t v = 0;

	assert_int_equal(testdev_add(&x->testdev, x->bus), 0);
	out(x, 0xe0, 0x12345678, 4);
	bus_read(x->bus, BUS_PIO, 0xe2, &v, 2);
	assert_int_equal(v, 0x1234);
	bus_write(x->bus, BUS_MMIO, 0xff00fff8, &word, 8);
	bus_read(x->bus, BUS_MMIO, 0xff00fffc, &v, 4);
	assert_int_equal(v, 0x11223344);
	bus_read(x->bus, BUS_MMIO, 0xff00fffc, &v, 8); // beyond the end
	assert_int_equal(v, UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(mask, setup, teardown),
		cmocka_unit_test_setup_teardown(message_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(all_pins, setup, teardown),
		cmocka_unit_test_setup_teardown(eoi, setup, teardown),
		cmocka_unit_test_setup_teardown(edge_line, setup, teardown),
		cmocka_unit_test_setup_teardown(level_line, setup, teardown),
		cmocka_unit_test_setup_teardown(level_line_masked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm_ioapic", tests, NULL, NULL);
}
