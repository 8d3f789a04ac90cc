// SPDX-License-Identifier: Apache-2.0
// The machine put together: memory, hypervisor, chips, virtio devices, kernel; vCPU threads and their end.
#include "vmm/vmm.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "vmm/boot/boot.h"
#include "vmm/bus.h"
#include "vmm/chip/exit.h"
#include "vmm/chip/ioapic.h"
#include "vmm/chip/power.h"
#include "vmm/chip/serial.h"
#include "vmm/chip/testdev.h"
#include "vmm/hv/hv.h"
#include "vmm/mem/mem.h"
#include "vmm/nets.h"
#include "vmm/virtio/virtio.h"

#define VIRTIO_BASE 0xd0000000ull
enum { VIRTIO_MAX = 8, LINES_MAX = VIRTIO_MAX + VMM_NETS_MAX, VIRTIO_GSI = 5, RESERVED_MIB = 4 };

// A virtual processor and its thread.
struct vmm_vcpu {
	struct vmm *v;
	struct hv_vcpu *vcpu;
	pthread_t thread;
	pid_t tid; // set by the thread before it posts `begun`
	bool started;
};

struct vmm {
	struct loop *loop; // borrowed
	struct mem *mem;
	struct bus *bus;
	struct ioapic *ioapic;
	struct serial *serial;
	struct power power;
	struct exit_port exit_port; // bare-metal test guests only, as the next
	struct testdev testdev;
	struct hv_client client;
	struct hv *hv;
	struct vmm_vcpu vcpus[VMM_VCPUS_MAX];
	unsigned n_vcpus;
	struct dev_host host;
	struct virtio_mmio *virtio[VIRTIO_MAX];
	unsigned n_virtio;
	struct vmm_nets *nets;
	struct boot_virtio windows[LINES_MAX];
	int irq[LINES_MAX]; // owned eventfds
	unsigned n_lines;

	sem_t begun; // each vCPU thread posts it once
	int end_fd;  // owned eventfd: a vCPU or the power register ended the machine
	struct loop_source *end_source;
	pthread_mutex_t end_lock; // guards the four below
	enum vmm_end end;
	unsigned exit_code;
	char end_text[256];
	bool end_told;
	void (*on_end)(void *arg, enum vmm_end end, const char *text);
	void *on_end_arg;
};

// ---- callbacks from below
static void set_end(struct vmm *v, enum vmm_end end, const char *text)
{
	uint64_t one = 1;

	pthread_mutex_lock(&v->end_lock);
	if (v->end == VMM_END_NONE) { // the first reason is the reason
		v->end = end;
		(void)snprintf(v->end_text, sizeof(v->end_text), "%s", text); // cut is fine
	}
	pthread_mutex_unlock(&v->end_lock);
	(void)write(v->end_fd, &one, sizeof(one)); // an eventfd takes a one
}

static void on_power(void *arg, int reset)
{
	set_end(arg, reset ? VMM_END_RESET : VMM_END_SHUTDOWN,
		reset ? "the guest reset itself" : "the guest powered off");
}

static void on_exit_port(void *arg, unsigned code)
{
	struct vmm *v = arg;
	char text[64];

	pthread_mutex_lock(&v->end_lock);
	if (v->end == VMM_END_NONE)
		v->exit_code = code & 0xff;
	pthread_mutex_unlock(&v->end_lock);
	(void)snprintf(text, sizeof(text), "the guest exited with %u", code); // fits
	set_end(v, VMM_END_EXIT, text);
}

static void on_eoi(void *arg, uint8_t vector)
{
	ioapic_eoi(((struct vmm *)arg)->ioapic, vector);
}

static void on_routes(void *arg, const struct hv_route *routes, unsigned count)
{
	struct vmm *v = arg;
	struct err e;

	if (v->hv && v->hv->ops->routes(v->hv, routes, count, &e) < 0)
		log_error("%s", e.msg);
}

static void on_send(void *arg, uint32_t address, uint32_t data)
{
	struct vmm *v = arg;
	struct err e;

	// An address with nobody behind it is the guest's affair.
	if (v->hv && v->hv->ops->msi(v->hv, address, data, &e) < 0)
		log_debug("%s", e.msg);
}

static void on_extint(void *arg, uint8_t vector)
{
	on_send(arg, 0xfee00000, 7u << 8 | vector); // to the first processor
}

static int host_doorbell(void *arg, uint64_t gpa, unsigned len, uint64_t match, int fd, bool add,
			 struct err *e)
{
	struct vmm *v = arg;

	return v->hv->ops->doorbell(v->hv, gpa, len, match, fd, add, e);
}

// ---- building
static int map_memory(struct vmm *v, struct err *e)
{
	const struct mem_region *regions;
	unsigned n = mem_regions(v->mem, &regions);
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++)
		r = v->hv->ops->map(v->hv, regions[i].gpa, regions[i].hva, regions[i].len, e);
	return r;
}

static int add_test_chips(struct vmm *v)
{
	int r;

	v->exit_port = (struct exit_port){ on_exit_port, v };
	v->testdev.ioapic = v->ioapic;
	v->testdev.extint = on_extint;
	v->testdev.arg = v;
	r = bus_add(v->bus, BUS_PIO, EXIT_PORT, EXIT_PORTS, &exit_bus_ops, &v->exit_port);
	return r ? r : testdev_add(&v->testdev, v->bus);
}

static int add_chips(struct vmm *v, const struct vmm_config *cfg, struct err *e)
{
	int r;

	v->ioapic = ioapic_new(on_routes, on_send, v);
	v->serial = serial_new(cfg->serial_fd);
	if (!v->ioapic || !v->serial)
		return err_errno(e, ENOMEM, "machine");
	v->power = (struct power){ on_power, v };
	r = bus_add(v->bus, BUS_MMIO, IOAPIC_BASE, IOAPIC_BYTES, &ioapic_bus_ops, v->ioapic);
	r = r ? r : bus_add(v->bus, BUS_PIO, SERIAL_PORT, SERIAL_PORTS, &serial_bus_ops, v->serial);
	r = r ? r : bus_add(v->bus, BUS_MMIO, POWER_BASE, POWER_BYTES, &power_bus_ops, &v->power);
	if (cfg->bare_metal)
		r = r ? r : add_test_chips(v);
	return r ? err_errno(e, -r, "machine") : 0;
}

// The next virtio-mmio window and its interrupt.
static int add_line(struct vmm *v, struct irq_line *ret, struct err *e)
{
	unsigned n = v->n_lines;
	struct irq_line irq = { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				.gsi = VIRTIO_GSI + n };

	if (irq.fd < 0)
		return err_errno(e, errno, "eventfd");
	v->irq[n] = irq.fd;
	v->windows[n] = (struct boot_virtio){ VIRTIO_BASE + n * VIRTIO_MMIO_BYTES, irq.gsi };
	v->n_lines++;
	*ret = irq;
	return v->hv->ops->irqfd(v->hv, irq.fd, irq.gsi, e);
}

// Puts dev (owned from here on, also on failure) behind the next virtio-mmio slot.
static int add_virtio(struct vmm *v, struct virtio_dev *dev, struct err *e)
{
	unsigned n = v->n_virtio;
	struct irq_line irq;
	int r = add_line(v, &irq, e);

	if (r < 0) {
		virtio_dev_free(dev);
		return r;
	}
	r = virtio_mmio_new(&v->host, v->bus, v->windows[v->n_lines - 1].base, irq, dev,
			    &v->virtio[n], e);
	if (r == 0)
		v->n_virtio++;
	return r;
}

static int add_devices(struct vmm *v, const struct vmm_config *cfg, struct err *e)
{
	struct virtio_dev *dev;
	int r = virtio_console_new(&v->host, cfg->console_fd, &dev, e);

	r = r < 0 ? r : add_virtio(v, dev, e);
	r = r < 0 ? r : virtio_rng_new(&v->host, &dev, e);
	r = r < 0 ? r : add_virtio(v, dev, e);
	if (cfg->vsock_listen_fd >= 0) {
		r = r < 0 ? r
			  : virtio_vsock_new(&v->host, cfg->vsock_cid, cfg->vsock_listen_fd,
					     cfg->vsock_dir_fd, &dev, e);
		r = r < 0 ? r : add_virtio(v, dev, e);
	}
	if (cfg->fs_fd >= 0) {
		r = r < 0 ? r : virtio_fs_new(&v->host, cfg->fs_tag, cfg->fs_fd, &dev, e);
		r = r < 0 ? r : add_virtio(v, dev, e);
	}
	return r;
}

static int add_slots(struct vmm *v, struct err *e)
{
	struct irq_line irq;
	int r = vmm_nets_new(&v->host, &v->nets, e);

	for (unsigned i = 0; i < VMM_NETS_MAX && r == 0; i++) {
		r = add_line(v, &irq, e);
		r = r < 0 ? r
			  : vmm_nets_add_slot(v->nets, v->bus, v->windows[v->n_lines - 1].base, irq,
					      e);
	}
	return r;
}

// The initramfs goes to the end of low memory, above the kernel.
static int load_initrd(struct vmm *v, int fd, uint64_t kernel_end, struct boot_info *info,
		       struct err *e)
{
	const struct mem_region *low;
	struct stat st;
	uint64_t bytes, at, done = 0;
	uint8_t *to;

	(void)mem_regions(v->mem, &low); // there is always one
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "initramfs");
	bytes = (uint64_t)st.st_size;
	if (!bytes || bytes > low->len || kernel_end + bytes + (RESERVED_MIB << 20) > low->len)
		return err_set(
			e, ENOMEM,
			"%llu MiB of guest memory: too little for the kernel and its initramfs, which need %llu MiB",
			(unsigned long long)(mem_bytes(v->mem) >> 20),
			(unsigned long long)((kernel_end + bytes) >> 20) + RESERVED_MIB + 1);
	at = (low->len - bytes) & ~4095ull;
	to = mem_slice(v->mem, at, bytes);
	while (to && done < bytes) {
		ssize_t n = pread(fd, to + done, bytes - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, n < 0 ? errno : EIO, "initramfs: read failed");
		done += (uint64_t)n;
	}
	info->initrd_gpa = at;
	info->initrd_bytes = bytes;
	return 0;
}

static int load_linux(struct vmm *v, const struct vmm_config *cfg, struct x86_state *ret,
		      struct err *e)
{
	char cmdline[BOOT_CMDLINE_MAX + 32];
	struct boot_info info = { .cmdline = cmdline,
				  .vcpus = cfg->vcpus,
				  .virtio = v->windows,
				  .n_virtio = v->n_lines };
	uint64_t entry, end;
	int r = boot_elf_load(v->mem, cfg->kernel_fd, &entry, &end, e);

	// There is no keyboard controller to reset by: a triple fault is the restart that every hypervisor sees.
	(void)snprintf(cmdline, sizeof(cmdline), "%s reboot=t",
		       cfg->cmdline); // too long is refused below
	if (r == 0 && cfg->initrd_fd >= 0)
		r = load_initrd(v, cfg->initrd_fd, end, &info, e);
	r = r < 0 ? r : boot_zero_page(v->mem, &info, e);
	return r < 0 ? r : boot_cpu_state(v->mem, entry, ret, e);
}

static int load_bare(struct vmm *v, const struct vmm_config *cfg, struct x86_state *ret,
		     struct err *e)
{
	struct boot_info info = { .cmdline = cfg->cmdline };
	struct boot_bare bare;
	int r = boot_bare_load(v->mem, cfg->kernel_fd, &bare, e);

	if (r == 0 && cfg->initrd_fd >= 0)
		r = load_initrd(v, cfg->initrd_fd, bare.end, &info, e);
	return r < 0 ? r : boot_bare_state(v->mem, &bare, &info, ret, e);
}

static int load_kernel(struct vmm *v, const struct vmm_config *cfg, struct err *e)
{
	struct x86_state state;
	int r = cfg->bare_metal ? load_bare(v, cfg, &state, e) : load_linux(v, cfg, &state, e);

	for (unsigned i = 0; r == 0 && i < cfg->vcpus; i++) {
		v->vcpus[i].v = v;
		r = v->hv->ops->vcpu_new(v->hv, i, &v->vcpus[i].vcpu, e);
		v->n_vcpus += r == 0;
	}
	// The others wait in the hypervisor until the first starts them by INIT and SIPI.
	return r < 0 ? r : v->hv->ops->vcpu_set_state(v->vcpus[0].vcpu, &state, e);
}

static int build(struct vmm *v, const struct vmm_config *cfg, struct err *e)
{
	int r;

	if (!cfg->vcpus || cfg->vcpus > VMM_VCPUS_MAX)
		return err_set(e, EINVAL, "vcpus: %u: from 1 to %d are supported", cfg->vcpus,
			       VMM_VCPUS_MAX);
	r = mem_new(cfg->memory_bytes, &v->mem, e);
	if (r < 0)
		return r;
	v->bus = bus_new();
	v->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!v->bus || v->end_fd < 0)
		return err_errno(e, v->bus ? errno : ENOMEM, "machine");
	v->client = (struct hv_client){ .bus = v->bus, .mem = v->mem, .eoi = on_eoi, .arg = v };
	r = hv_open(cfg->hypervisor, &v->client, &v->hv, e);
	r = r < 0 ? r : map_memory(v, e);
	r = r < 0 ? r : add_chips(v, cfg, e);
	v->host = (struct dev_host){
		.loop = v->loop, .mem = v->mem, .doorbell = host_doorbell, .arg = v
	};
	r = r < 0 ? r : add_devices(v, cfg, e);
	if (!cfg->bare_metal) // nothing there would look for them
		r = r < 0 ? r : add_slots(v, e);
	return r < 0 ? r : load_kernel(v, cfg, e);
}

int vmm_new(const struct vmm_config *cfg, struct loop *loop, struct vmm **ret_vmm, struct err *e)
{
	struct vmm *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return err_errno(e, ENOMEM, "machine");
	v->loop = loop;
	v->end_fd = -1;
	(void)pthread_mutex_init(&v->end_lock, NULL); // cannot fail with default attributes
	(void)sem_init(&v->begun, 0, 0);              // nor this with a small value
	r = build(v, cfg, e);
	if (r < 0) {
		vmm_free(v);
		return r;
	}
	*ret_vmm = v;
	return 0;
}

// ---- running
static bool crashed(struct vmm *v)
{
	uint64_t crash[5];

	for (unsigned i = 0; i < v->n_vcpus; i++)
		if (v->hv->ops->vcpu_crashed(v->vcpus[i].vcpu, crash))
			return true;
	return false;
}

static void *vcpu_thread(void *arg)
{
	struct vmm_vcpu *c = arg;
	struct vmm *v = c->v;
	struct err e = { 0 };

	c->tid = gettid();
	(void)sem_post(&v->begun); // at most VMM_VCPUS_MAX times
	switch (v->hv->ops->vcpu_run(c->vcpu, &e)) {
	case HV_STOP_HALT:
		set_end(v, VMM_END_SHUTDOWN, "the guest halted with interrupts off");
		break;
	case HV_STOP_TRIPLE_FAULT: // or a panic, which resets by one: handle_end tells them apart
		set_end(v, VMM_END_TRIPLE_FAULT, "the guest took a triple fault");
		break;
	case HV_STOP_ERROR:
		set_end(v, VMM_END_ERROR, e.msg);
		break;
	default:
		break; // kicked: somebody else knows why
	}
	return NULL;
}

static void stop_vcpus(struct vmm *v)
{
	for (unsigned i = 0; i < v->n_vcpus; i++) {
		if (!v->vcpus[i].started)
			continue;
		v->hv->ops->vcpu_kick(v->vcpus[i].vcpu);
		(void)pthread_join(v->vcpus[i].thread, NULL); // it is ours and joinable
		v->vcpus[i].started = false;
	}
}

static void handle_end(void *arg, uint32_t events)
{
	struct vmm *v = arg;
	uint64_t n;

	(void)events;
	(void)read(v->end_fd, &n, sizeof(n)); // only to empty it
	if (v->end_told)
		return;
	v->end_told = true;
	stop_vcpus(v);
	// A panicking kernel resets the machine; the crash registers tell the two apart.
	if ((v->end == VMM_END_RESET || v->end == VMM_END_TRIPLE_FAULT) && crashed(v)) {
		v->end = VMM_END_PANIC;
		(void)snprintf(v->end_text, sizeof(v->end_text),
			       "the guest kernel panicked"); // fits
	}
	v->on_end(v->on_end_arg, v->end, v->end_text);
}

int vmm_start(struct vmm *v, void (*on_end)(void *arg, enum vmm_end end, const char *text),
	      void *arg, struct err *e)
{
	sigset_t all, old;
	int r, failed = 0;

	v->on_end = on_end;
	v->on_end_arg = arg;
	r = loop_add_fd(v->loop, "machine end", v->end_fd, EPOLLIN, handle_end, v, &v->end_source,
			e);
	r = r < 0 ? r : v->hv->ops->start_time(v->hv, e);
	if (r < 0)
		return r;
	(void)sigfillset(&all); // cannot fail
	(void)pthread_sigmask(SIG_SETMASK, &all,
			      &old); // nor this; the back end unblocks its kick signal
	for (unsigned i = 0; i < v->n_vcpus && !failed; i++) {
		failed = pthread_create(&v->vcpus[i].thread, NULL, vcpu_thread, &v->vcpus[i]);
		v->vcpus[i].started = !failed;
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL); // as above
	for (unsigned i = 0; i < v->n_vcpus && v->vcpus[i].started; i++)
		while (sem_wait(&v->begun) < 0)
			;                                        // EINTR
	return failed ? err_errno(e, failed, "vcpu thread") : 0; // vmm_free stops those that run
}

void vmm_free(struct vmm *v)
{
	if (!v)
		return;
	stop_vcpus(v);
	loop_remove(v->end_source);
	for (unsigned i = 0; i < v->n_virtio; i++)
		virtio_mmio_free(v->virtio[i]);
	vmm_nets_free(v->nets);
	for (unsigned i = 0; i < v->n_vcpus; i++)
		v->hv->ops->vcpu_free(v->vcpus[i].vcpu);
	if (v->hv)
		v->hv->ops->free(v->hv);
	for (unsigned i = 0; i < v->n_lines; i++)
		close_fd(v->irq[i]);
	ioapic_free(v->ioapic);
	serial_free(v->serial);
	bus_free(v->bus);
	mem_free(v->mem);
	close_fd(v->end_fd);
	free(v);
}

unsigned vmm_vcpu_tids(const struct vmm *v, pid_t ret[VMM_VCPUS_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; i < v->n_vcpus; i++)
		if (v->vcpus[i].started)
			ret[n++] = v->vcpus[i].tid;
	return n;
}

void vmm_get_counters(struct vmm *v, struct vmm_counters *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < v->n_vcpus; i++)
		v->hv->ops->vcpu_counters(v->vcpus[i].vcpu, ret);
	vmm_nets_counters(v->nets, ret);
}

int vmm_plug_net(struct vmm *v, const struct vmm_net *net, unsigned *ret_slot, struct err *e)
{
	return vmm_nets_plug(v->nets, net, ret_slot, e);
}

unsigned vmm_exit_code(struct vmm *v)
{
	return v->exit_code; // the vCPUs have stopped
}

const char *vmm_hypervisor_name(struct vmm *v)
{
	return v->hv->name;
}
