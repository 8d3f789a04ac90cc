// SPDX-License-Identifier: Apache-2.0
// virtio 1.2 devices for the machine: what vmm.c needs to make them. Transport: virtio-mmio (4.2).
#ifndef VMM_VIRTIO_VIRTIO_H
#define VMM_VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"

struct err;
struct virtio_mmio;

enum {
	VIRTIO_MMIO_BYTES = 0x1000
}; // one page of bus per device, so that a doorbell never shares a page

// A device type: one file each (console.c, rng.c, vsock.c, fs.c), a row in devices.c.
struct virtio_dev_ops; // virtio/device.h
struct virtio_dev;

// Constructors. Descriptors in the arguments are borrowed unless said otherwise and must outlive the device.
// console: out_fd gets the guest's log (rate-limited by the caller's pipe; -1 discards). No input.
int virtio_console_new(const struct dev_host *host, int out_fd, struct virtio_dev **ret,
		       struct err *e);
// rng: bounded reads from getrandom(2).
int virtio_rng_new(const struct dev_host *host, struct virtio_dev **ret, struct err *e);
// vsock: guest_cid >= 3. listen_fd: a listening AF_UNIX stream socket; a connection says "CONNECT <port>\n", gets
// "OK <port>\n" and is then the stream. Guest-initiated connections to port P go to "<dir_fd>/vsock.sock_P"; dir_fd may
// be -1 (then they are refused).
int virtio_vsock_new(const struct dev_host *host, uint64_t guest_cid, int listen_fd, int dir_fd,
		     struct virtio_dev **ret, struct err *e);
// fs: front end only. vhost_fd: connected vhost-user socket of bulkhead-fs, which serves the queues. tag <= 36 bytes.
int virtio_fs_new(const struct dev_host *host, const char *tag, int vhost_fd,
		  struct virtio_dev **ret, struct err *e);
// net: one interface. See virtio/net.h for what it is given.
struct net_config;
int virtio_net_new(const struct dev_host *host, const struct net_config *cfg,
		   struct virtio_dev **ret, struct err *e);
void virtio_dev_free(struct virtio_dev *dev);

// Puts dev behind virtio-mmio registers at gpa base. dev is owned by the transport from here on, also on failure. bus
// may be NULL: then the caller hands reads and writes on.
int virtio_mmio_new(const struct dev_host *host, struct bus *bus, uint64_t base,
		    struct irq_line irq, struct virtio_dev *dev, struct virtio_mmio **ret,
		    struct err *e);
void virtio_mmio_free(struct virtio_mmio *t);
// Its registers, as bus_ops has them.
void virtio_mmio_read(void *t, uint64_t off, void *data, unsigned len);
void virtio_mmio_write(void *t, uint64_t off, const void *data, unsigned len);

// A place for a device that may come later, at any time: until then its registers say that there is none (4.2.2: a
// DeviceID of 0, which drivers pass over). Loop thread.
struct virtio_slot;
int virtio_slot_new(const struct dev_host *host, struct bus *bus, uint64_t base,
		    struct irq_line irq, struct virtio_slot **ret, struct err *e);
// dev is owned by the slot from here on, also on failure. A slot takes one device, once.
int virtio_slot_plug(struct virtio_slot *s, struct virtio_dev *dev, struct err *e);
bool virtio_slot_is_free(const struct virtio_slot *s);
void virtio_slot_free(struct virtio_slot *s);

#endif
