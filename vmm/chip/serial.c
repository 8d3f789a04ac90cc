// SPDX-License-Identifier: Apache-2.0
#include "vmm/chip/serial.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/bus.h"

enum { THR, IER, IIR, LCR, MCR, LSR, MSR, SCR };
enum {
	LCR_DLAB = 0x80,
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,
	IIR_NONE = 1,
	IIR_FIFO = 0xc0,
	MSR_READY = 0xb0
};

struct serial {
	pthread_mutex_t lock; // guards state
	struct {
		uint8_t ier, lcr, mcr, scr, fcr;
		uint8_t dll, dlm;
	} state;
	int out_fd;
};

struct serial *serial_new(int out_fd)
{
	struct serial *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	(void)pthread_mutex_init(&s->lock, NULL); // cannot fail with default attributes
	s->out_fd = out_fd;
	return s;
}

void serial_free(struct serial *s)
{
	free(s);
}

static uint8_t read_reg(const struct serial *s, uint64_t off)
{
	bool dlab = s->state.lcr & LCR_DLAB;

	switch (off) {
	case THR:
		return dlab ? s->state.dll : 0;
	case IER:
		return dlab ? s->state.dlm : s->state.ier;
	case IIR:
		return IIR_NONE | (s->state.fcr & 1 ? IIR_FIFO : 0);
	case LCR:
		return s->state.lcr;
	case MCR:
		return s->state.mcr;
	case LSR:
		return LSR_THRE | LSR_TEMT; // what is sent has gone at once
	case MSR:
		return MSR_READY;
	default:
		return s->state.scr;
	}
}

static void serial_read(void *dev, uint64_t off, void *data, unsigned len)
{
	struct serial *s = dev;
	uint8_t v;

	pthread_mutex_lock(&s->lock);
	v = read_reg(s, off);
	pthread_mutex_unlock(&s->lock);
	memset(data, 0, len);
	memcpy(data, &v, 1);
}

static void serial_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	struct serial *s = dev;
	bool dlab, send = false;
	uint8_t v;

	(void)len; // the registers are bytes
	memcpy(&v, data, 1);
	pthread_mutex_lock(&s->lock);
	dlab = s->state.lcr & LCR_DLAB;
	switch (off) {
	case THR:
		if (dlab)
			s->state.dll = v;
		else
			send = true;
		break;
	case IER:
		if (dlab)
			s->state.dlm = v;
		else
			s->state.ier = v & 15;
		break;
	case IIR:
		s->state.fcr = v;
		break;
	case LCR:
		s->state.lcr = v;
		break;
	case MCR:
		s->state.mcr = v & 31;
		break;
	case SCR:
		s->state.scr = v;
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&s->lock);
	if (send && s->out_fd >= 0)
		(void)write(
			s->out_fd, &v,
			1); // a log that takes no more loses bytes; the guest does not wait for it
}

const struct bus_ops serial_bus_ops = { .name = "serial",
					.read = serial_read,
					.write = serial_write };
