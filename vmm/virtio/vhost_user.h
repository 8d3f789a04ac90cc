// SPDX-License-Identifier: Apache-2.0
// The vhost-user protocol's messages, as much of it as a virtio-fs device needs: codec for both ends.
// (Names, numbers and layouts: the vhost-user specification.)
#ifndef VMM_VIRTIO_VHOST_USER_H
#define VMM_VIRTIO_VHOST_USER_H

#include <stdint.h>

struct err;

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
};

enum { VHOST_USER_VERSION = 1, VHOST_USER_REPLY = 4, VHOST_USER_NEED_REPLY = 8 };
enum { VHOST_USER_VRING_NOFD = 0x100, VHOST_USER_VRING_INDEX = 0xff };
#define VHOST_USER_F_PROTOCOL_FEATURES (1ull << 30)
#define VHOST_USER_PROTOCOL_F_MQ (1ull << 0)
#define VHOST_USER_PROTOCOL_F_REPLY_ACK (1ull << 3)

enum { VHOST_USER_REGIONS_MAX = 8 };

struct vhost_user_vring_state {
	uint32_t index, num;
};

struct vhost_user_vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log; // front end's user addresses
};

struct vhost_user_region {
	uint64_t gpa, size, user_addr, mmap_offset;
};

struct vhost_user_mem {
	uint32_t nregions, padding;
	struct vhost_user_region regions[VHOST_USER_REGIONS_MAX];
};

struct vhost_user_header {
	uint32_t request, flags, size;
} __attribute__((packed));

struct vhost_user_msg {
	struct vhost_user_header h;
	union {
		uint64_t u64;
		struct vhost_user_vring_state state;
		struct vhost_user_vring_addr addr;
		struct vhost_user_mem mem;
	} p;
	int fds[VHOST_USER_REGIONS_MAX]; // received ones are the caller's
	unsigned nfds;
};

// Sends h (size from msg->h.size) with fds. 0 or -errno.
int vhost_user_send(int sock, const struct vhost_user_msg *msg);
// Receives one whole message; sizes are checked. 1 = a message, 0 = the peer has gone, -EPROTO = not the protocol, or
// another -errno. On failure no descriptors are left open.
int vhost_user_recv(int sock, struct vhost_user_msg *ret_msg);

// Front end: sends a request and waits (with a deadline of 5 s) for its answer, or with REPLY_ACK for the acknowledgement.
// *reply_u64 may be NULL.
int vhost_user_call(int sock, struct vhost_user_msg *msg, uint64_t *reply_u64, struct err *e);
int vhost_user_call_u64(int sock, enum vhost_user_request req, uint64_t v, uint64_t *reply_u64,
			struct err *e);

#endif
