// SPDX-License-Identifier: Apache-2.0
#include "vmm/chip/ioapic.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bus.h"

enum {
	REG_SELECT = 0x00,
	REG_WINDOW = 0x10,
	REG_EOI = 0x40,
	INDEX_ID = 0,
	INDEX_VERSION = 1,
	INDEX_ARB = 2,
	INDEX_ENTRIES = 0x10
};
#define ENTRY_MASKED (1ull << 16)
#define ENTRY_LEVEL (1ull << 15)
#define ENTRY_REMOTE_IRR (1ull << 14)
#define ENTRY_STATUS (1ull << 12)

struct ioapic {
	pthread_mutex_t lock; // guards state
	pthread_mutex_t
		update_lock; // taken first; tables reach the hypervisor in the order they were made
	struct {
		uint32_t select, id;
		uint32_t lines; // asserted, by pin
		uint64_t entry[IOAPIC_PINS];
	} state;
	ioapic_update_fn *update;
	ioapic_send_fn *send;
	void *arg;
};

struct ioapic *ioapic_new(ioapic_update_fn *update, ioapic_send_fn *send, void *arg)
{
	struct ioapic *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	(void)pthread_mutex_init(&c->lock, NULL);        // cannot fail with default attributes
	(void)pthread_mutex_init(&c->update_lock, NULL); // nor this
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		c->state.entry[i] = ENTRY_MASKED;
	c->update = update;
	c->send = send;
	c->arg = arg;
	return c;
}

void ioapic_free(struct ioapic *c)
{
	free(c);
}

// An entry's fields are those of a message: destination, its mode, vector, delivery mode, trigger.
static struct hv_route message(unsigned pin, uint64_t e)
{
	return (struct hv_route){
		.gsi = pin,
		.address = 0xfee00000u | (uint32_t)(e >> 56) << 12 | (uint32_t)(e >> 11 & 1) << 2,
		.data = (uint32_t)(e & 0xff) | (uint32_t)(e >> 8 & 7) << 8 |
			(uint32_t)(e & ENTRY_LEVEL ? 3u << 14 : 0),
	};
}

unsigned ioapic_routes(struct ioapic *c, struct hv_route routes[IOAPIC_PINS])
{
	unsigned n = 0;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		if (!(c->state.entry[i] & ENTRY_MASKED))
			routes[n++] = message(i, c->state.entry[i]);
	pthread_mutex_unlock(&c->lock);
	return n;
}

// A level pin interrupts once until its end is told. True: *ret is to be sent.
static bool level_due(struct ioapic *c, unsigned pin, struct hv_route *ret)
{
	uint64_t *e = &c->state.entry[pin];

	if (!(c->state.lines >> pin & 1) ||
	    (*e & (ENTRY_LEVEL | ENTRY_MASKED | ENTRY_REMOTE_IRR)) != ENTRY_LEVEL)
		return false;
	*e |= ENTRY_REMOTE_IRR;
	*ret = message(pin, *e);
	return true;
}

void ioapic_set_line(struct ioapic *c, unsigned pin, bool asserted)
{
	struct hv_route m;
	bool rising, due;
	uint64_t e;

	pthread_mutex_lock(&c->lock);
	e = c->state.entry[pin];
	rising = asserted && !(c->state.lines >> pin & 1);
	c->state.lines = (c->state.lines & ~(1u << pin)) | (uint32_t)asserted << pin;
	m = message(pin, e);
	due = e & ENTRY_LEVEL ? level_due(c, pin, &m) : rising && !(e & ENTRY_MASKED);
	pthread_mutex_unlock(&c->lock);
	if (due)
		c->send(c->arg, m.address, m.data);
}

void ioapic_eoi(struct ioapic *c, uint8_t vector)
{
	struct hv_route again[IOAPIC_PINS];
	unsigned n = 0;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		if ((uint8_t)c->state.entry[i] == vector && (c->state.entry[i] & ENTRY_LEVEL)) {
			c->state.entry[i] &= ~ENTRY_REMOTE_IRR;
			n += level_due(c, i, &again[n]);
		}
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < n; i++)
		c->send(c->arg, again[i].address, again[i].data);
}

static uint32_t window_read(const struct ioapic *c)
{
	uint32_t s = c->state.select;

	if (s == INDEX_ID || s == INDEX_ARB)
		return c->state.id;
	if (s == INDEX_VERSION)
		return (IOAPIC_PINS - 1) << 16 | 0x20;
	if (s >= INDEX_ENTRIES && s < INDEX_ENTRIES + 2 * IOAPIC_PINS)
		return (uint32_t)(c->state.entry[(s - INDEX_ENTRIES) / 2] >> (s & 1 ? 32 : 0));
	return 0;
}

// True if a route may have changed. *ret_pin: the one that was written to.
static bool window_write(struct ioapic *c, uint32_t v, unsigned *ret_pin)
{
	uint32_t s = c->state.select;
	uint64_t *e, was;

	if (s == INDEX_ID)
		c->state.id = v & 0x0f000000;
	if (s < INDEX_ENTRIES || s >= INDEX_ENTRIES + 2 * IOAPIC_PINS)
		return false;
	*ret_pin = (s - INDEX_ENTRIES) / 2;
	e = &c->state.entry[*ret_pin];
	was = *e;
	if (s & 1)
		*e = (*e & 0xffffffff) | (uint64_t)v << 32;
	else
		*e = (*e & ~0xffffffffull) | (v & ~(uint32_t)(ENTRY_STATUS | ENTRY_REMOTE_IRR)) |
		     (v & ENTRY_LEVEL ? *e & ENTRY_REMOTE_IRR : 0);
	// A masked entry that stays masked changes nothing.
	return was != *e && !((was & ENTRY_MASKED) && (*e & ENTRY_MASKED));
}

static void ioapic_read(void *dev, uint64_t off, void *data, unsigned len)
{
	struct ioapic *c = dev;
	uint32_t v = 0;

	pthread_mutex_lock(&c->lock);
	if (off == REG_SELECT)
		v = c->state.select;
	else if (off == REG_WINDOW)
		v = window_read(c);
	pthread_mutex_unlock(&c->lock);
	memset(data, 0, len);
	memcpy(data, &v, len < 4 ? len : 4);
}

static void ioapic_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	struct ioapic *c = dev;
	struct hv_route routes[IOAPIC_PINS], m;
	bool changed = false, due = false;
	unsigned pin = IOAPIC_PINS;
	uint32_t v = 0;

	memcpy(&v, data, len < 4 ? len : 4);
	pthread_mutex_lock(&c->update_lock);
	pthread_mutex_lock(&c->lock);
	if (off == REG_SELECT)
		c->state.select = v & 0xff;
	else if (off == REG_WINDOW)
		changed = window_write(c, v, &pin);
	if (pin < IOAPIC_PINS)
		due = level_due(c, pin, &m);
	pthread_mutex_unlock(&c->lock);
	if (off == REG_EOI)
		ioapic_eoi(c, (uint8_t)v);
	if (changed)
		c->update(c->arg, routes, ioapic_routes(c, routes));
	pthread_mutex_unlock(&c->update_lock);
	if (due)
		c->send(c->arg, m.address, m.data);
}

const struct bus_ops ioapic_bus_ops = { .name = "ioapic",
					.read = ioapic_read,
					.write = ioapic_write };
