// SPDX-License-Identifier: Apache-2.0
// The port by which bare-metal test guests end (QEMU's isa-debug-exit): a write of N ends the machine with 2N + 1.
#ifndef VMM_CHIP_EXIT_H
#define VMM_CHIP_EXIT_H

struct bus_ops;

enum { EXIT_PORT = 0xf4, EXIT_PORTS = 4 };

struct exit_port {
	void (*end)(void *arg, unsigned code); // vCPU thread
	void *arg;
};
extern const struct bus_ops exit_bus_ops; // dev is a struct exit_port

#endif
