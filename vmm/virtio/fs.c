// SPDX-License-Identifier: Apache-2.0
// virtio-fs (virtio 1.2, 5.11), front end: the queues belong to bulkhead-fs, which gets memory, rings, kicks and the
// interrupt line by vhost-user. Nothing of the data path passes here.
#include "vmm/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "vmm/mem/mem.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/vhost_user.h"

// needs CONFIG_VIRTIO_FS

enum { FS_HIPRIO, FS_REQUEST, FS_QUEUES, FS_TAG_BYTES = 36 };

struct fs_dev {
	struct virtio_dev dev;
	int sock; // borrowed
	struct loop_source *source;
	struct {
		uint8_t tag[FS_TAG_BYTES];
		uint32_t num_request_queues;
	} config;
	bool active;
};

static void fs_config_read(struct virtio_dev *d, uint64_t off, void *data, unsigned len)
{
	const struct fs_dev *f = (const struct fs_dev *)d;

	if (off < sizeof(f->config) && len <= sizeof(f->config) - off)
		memcpy(data, (const uint8_t *)&f->config + off, len);
}

static int send_memory(struct fs_dev *f, struct err *e)
{
	struct vhost_user_msg m = { .h = { .request = VHOST_USER_SET_MEM_TABLE } };
	const struct mem_region *r;
	unsigned n = mem_regions(f->dev.host.mem, &r);

	m.p.mem.nregions = n;
	m.h.size = (uint32_t)(8 + n * sizeof(m.p.mem.regions[0]));
	for (unsigned i = 0; i < n; i++) {
		m.p.mem.regions[i] =
			(struct vhost_user_region){ r[i].gpa, r[i].len, (uintptr_t)r[i].hva,
						    r[i].fd_offset };
		m.fds[m.nfds++] = r[i].fd;
	}
	return vhost_user_call(f->sock, &m, NULL, e);
}

static int set_state(struct fs_dev *f, enum vhost_user_request req, uint32_t index, uint32_t num,
		     struct err *e)
{
	struct vhost_user_msg m = { .h = { .request = req, .size = 8 },
				    .p = { .state = { index, num } } };

	return vhost_user_call(f->sock, &m, NULL, e);
}

static int set_fd(struct fs_dev *f, enum vhost_user_request req, uint32_t index, int fd,
		  struct err *e)
{
	struct vhost_user_msg m = {
		.h = { .request = req, .size = 8 }, .p = { .u64 = index }, .fds = { fd }, .nfds = 1
	};

	return vhost_user_call(f->sock, &m, NULL, e);
}

static int send_queue(struct fs_dev *f, unsigned i, struct err *e)
{
	const struct queue *q = &f->dev.queue[i];
	struct vhost_user_msg m = { .h = { .request = VHOST_USER_SET_VRING_ADDR,
					   .size = sizeof(m.p.addr) } };
	int r;

	m.p.addr = (struct vhost_user_vring_addr){ .index = i,
						   .desc = (uintptr_t)q->desc,
						   .used = (uintptr_t)q->used,
						   .avail = (uintptr_t)q->avail };
	r = set_state(f, VHOST_USER_SET_VRING_NUM, i, q->size, e);
	r = r < 0 ? r : vhost_user_call(f->sock, &m, NULL, e);
	r = r < 0 ? r : set_state(f, VHOST_USER_SET_VRING_BASE, i, 0, e);
	r = r < 0 ? r : set_fd(f, VHOST_USER_SET_VRING_CALL, i, f->dev.irq.fd, e);
	r = r < 0 ? r : set_fd(f, VHOST_USER_SET_VRING_KICK, i, f->dev.kick_fd[i], e);
	return r < 0 ? r : set_state(f, VHOST_USER_SET_VRING_ENABLE, i, 1, e);
}

static int fs_activate(struct virtio_dev *d)
{
	struct fs_dev *f = (struct fs_dev *)d;
	struct err e;
	int r = vhost_user_call_u64(f->sock, VHOST_USER_SET_FEATURES,
				    d->features | VHOST_USER_F_PROTOCOL_FEATURES, NULL, &e);

	for (unsigned i = 0; i < FS_QUEUES && r == 0; i++)
		if (d->queue[i].ready)
			r = send_queue(f, i, &e);
	if (r < 0)
		log_error("fs: %s", e.msg);
	f->active = r == 0;
	return r;
}

static void fs_reset(struct virtio_dev *d)
{
	struct fs_dev *f = (struct fs_dev *)d;
	struct err e;
	uint64_t base;

	for (unsigned i = 0; f->active && i < FS_QUEUES; i++) {
		struct vhost_user_msg m = { .h = { .request = VHOST_USER_GET_VRING_BASE,
						   .size = 8 },
					    .p = { .state = { i, 0 } } };

		if (d->queue[i].ready && vhost_user_call(f->sock, &m, &base, &e) < 0) {
			log_error("fs: %s", e.msg);
			break;
		}
	}
	f->active = false;
}

static void fs_free(struct virtio_dev *d)
{
	struct fs_dev *f = (struct fs_dev *)d;

	loop_remove(f->source);
	free(f);
}

// The back end says nothing by itself: anything here is its end.
static void fs_gone(void *arg, uint32_t events)
{
	struct fs_dev *f = arg;

	if (!(events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)))
		return;
	loop_remove(f->source);
	f->source = NULL;
	pthread_mutex_lock(&f->dev.lock);
	f->active = false;
	f->dev.broken(&f->dev, "the file server has gone");
	pthread_mutex_unlock(&f->dev.lock);
}

static const struct virtio_dev_ops fs_ops = {
	.name = "fs",
	.id = VIRTIO_ID_FS,
	.n_queues = FS_QUEUES,
	.queue_size = { 128, 512 },
	.external = true,
	.config_read = fs_config_read,
	.activate = fs_activate,
	.reset = fs_reset,
	.free = fs_free,
};

int virtio_fs_new(const struct dev_host *host, const char *tag, int vhost_fd,
		  struct virtio_dev **ret, struct err *e)
{
	struct fs_dev *f = calloc(1, sizeof(*f));
	uint64_t features = 0, protocol = 0;
	int r;

	if (!f)
		return err_errno(e, ENOMEM, "fs");
	virtio_dev_init(&f->dev, &fs_ops, host);
	f->sock = vhost_fd;
	f->config.num_request_queues = 1;
	if (!*tag || strlen(tag) > FS_TAG_BYTES) {
		free(f);
		return err_set(e, EINVAL, "fs tag '%s': expected 1 to %d bytes", tag, FS_TAG_BYTES);
	}
	memcpy(f->config.tag, tag, strlen(tag));
	r = vhost_user_call_u64(vhost_fd, VHOST_USER_GET_FEATURES, 0, &features, e);
	r = r < 0 ? r
		  : vhost_user_call_u64(vhost_fd, VHOST_USER_GET_PROTOCOL_FEATURES, 0, &protocol,
					e);
	if (r == 0 && (!(features & VHOST_USER_F_PROTOCOL_FEATURES) ||
		       !(protocol & VHOST_USER_PROTOCOL_F_REPLY_ACK)))
		r = err_set(e, EPROTO, "fs: the back end lacks REPLY_ACK");
	if (r == 0) { // acknowledged only from the next message on
		struct vhost_user_msg m = { .h = { .request = VHOST_USER_SET_PROTOCOL_FEATURES,
						   .flags = VHOST_USER_VERSION,
						   .size = 8 },
					    .p = { .u64 = VHOST_USER_PROTOCOL_F_REPLY_ACK } };

		r = vhost_user_send(vhost_fd, &m);
		m.h.request = VHOST_USER_SET_OWNER;
		m.h.size = 0;
		r = r < 0 ? r : vhost_user_send(vhost_fd, &m);
		r = r < 0 ? err_errno(e, -r, "fs: vhost-user") : send_memory(f, e);
	}
	r = r < 0 ? r
		  : loop_add_fd(host->loop, "fs back end", vhost_fd, EPOLLRDHUP, fs_gone, f,
				&f->source, e);
	if (r < 0) {
		free(f);
		return r;
	}
	*ret = &f->dev;
	return 0;
}
