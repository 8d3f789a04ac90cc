// SPDX-License-Identifier: Apache-2.0
// The IOAPIC (Intel 82093AA): 24 pins whose redirection entries become message routes of the hypervisor.
#ifndef VMM_CHIP_IOAPIC_H
#define VMM_CHIP_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv/hv.h"

struct ioapic;

enum { IOAPIC_PINS = 24 };
#define IOAPIC_BASE 0xfec00000ull
#define IOAPIC_BYTES 0x1000

// update is called (any vCPU thread, no lock held) with all routes when an entry has changed.
typedef void ioapic_update_fn(void *arg, const struct hv_route *routes, unsigned count);
// send is called likewise, to interrupt by message for a pin whose line has no irqfd.
typedef void ioapic_send_fn(void *arg, uint32_t address, uint32_t data);

struct ioapic *ioapic_new(ioapic_update_fn *update, ioapic_send_fn *send, void *arg);
void ioapic_free(struct ioapic *c);
extern const struct bus_ops ioapic_bus_ops;
// The route of an unmasked pin. Masked pins have none.
unsigned ioapic_routes(struct ioapic *c, struct hv_route routes[IOAPIC_PINS]);
// A device's line to pin (below IOAPIC_PINS). Any thread.
void ioapic_set_line(struct ioapic *c, unsigned pin, bool asserted);
// A level-triggered vector ended.
void ioapic_eoi(struct ioapic *c, uint8_t vector);

#endif
