// SPDX-License-Identifier: Apache-2.0
// The IOAPIC: its registers by the bus, and the routes that its entries become.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vmm/bus.h"
#include "vmm/chip/ioapic.h"

enum { SELECT = 0x00, WINDOW = 0x10, EOI = 0x40, MASKED = 1 << 16, LEVEL = 1 << 15 };

struct rig {
	struct bus *bus;
	struct ioapic *chip;
	struct hv_route routes[IOAPIC_PINS]; // of the last update
	unsigned count, updates;
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
	x->chip = ioapic_new(on_update, x);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(mask, setup, teardown),
		cmocka_unit_test_setup_teardown(message_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(all_pins, setup, teardown),
		cmocka_unit_test_setup_teardown(eoi, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm_ioapic", tests, NULL, NULL);
}
