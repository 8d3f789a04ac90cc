// SPDX-License-Identifier: Apache-2.0
// A 16550's transmitter, for early boot and panics. No input, no interrupts.
#ifndef VMM_CHIP_SERIAL_H
#define VMM_CHIP_SERIAL_H

struct serial;
struct bus_ops;

enum { SERIAL_PORT = 0x3f8, SERIAL_PORTS = 8 };

// out_fd is borrowed; -1 discards.
struct serial *serial_new(int out_fd);
void serial_free(struct serial *s);
extern const struct bus_ops serial_bus_ops;

#endif
