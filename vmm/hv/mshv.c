// SPDX-License-Identifier: Apache-2.0
// The /dev/mshv back end: partition, memory, routes, doorbells. Written against the kernel driver's contract; the software
// partition answers the same calls.
#include "vmm/hv/mshv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static struct mshv_hv *of(struct hv *hv)
{
	return (struct mshv_hv *)hv;
}

int mshv_hvcall(struct mshv_hv *m, uint16_t code, void *in, uint16_t in_sz, void *out,
		uint16_t out_sz, uint16_t reps, struct err *e)
{
	struct mshv_root_hvcall a = { .code = code,
				      .reps = reps,
				      .in_sz = in_sz,
				      .out_sz = out ? out_sz : 0,
				      .in_ptr = (uintptr_t)in,
				      .out_ptr = (uintptr_t)out };

	if (m->sys->ioctl(m->part_fd, MSHV_ROOT_HVCALL, &a) < 0) {
		int code_errno = errno;

		return err_errno(e, code_errno, "hypercall %#x: status %#x after %u of %u", code,
				 a.status, a.reps, reps);
	}
	return 0;
}

static int set_property(struct mshv_hv *m, uint32_t code, uint64_t value, struct err *e)
{
	struct hv_input_partition_property in = { .property_code = code, .property_value = value };

	return mshv_hvcall(m, HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in), NULL, 0, 0, e);
}

static void hv_mshv_free(struct hv *hv)
{
	struct mshv_hv *m = of(hv);

	if (m->part_fd >= 0)
		(void)m->sys->close(m->part_fd); // the partition dies with its last descriptor
	if (m->dev_fd >= 0)
		(void)m->sys->close(m->dev_fd); // as above
	free(m);
}

static int hv_mshv_map(struct hv *hv, uint64_t gpa, void *hva, uint64_t len, struct err *e)
{
	struct mshv_hv *m = of(hv);
	struct mshv_user_mem_region a = { .size = len,
					  .guest_pfn = gpa >> 12,
					  .userspace_addr = (uintptr_t)hva,
					  .flags = 1 << MSHV_SET_MEM_BIT_WRITABLE |
						   1 << MSHV_SET_MEM_BIT_EXECUTABLE };

	if (m->sys->ioctl(m->part_fd, MSHV_SET_GUEST_MEMORY, &a) < 0)
		return err_errno(e, errno, "mapping guest memory at %#llx",
				 (unsigned long long)gpa);
	return 0;
}

static int hv_mshv_routes(struct hv *hv, const struct hv_route *routes, unsigned count,
			  struct err *e)
{
	struct mshv_hv *m = of(hv);
	struct mshv_user_irq_table *t = calloc(1, sizeof(*t) + count * sizeof(t->entries[0]));
	int r = 0;

	if (!t)
		return err_errno(e, ENOMEM, "interrupt routes");
	t->nr = count;
	for (unsigned i = 0; i < count; i++)
		t->entries[i] = (struct mshv_user_irq_entry){ routes[i].gsi, routes[i].address, 0,
							      routes[i].data };
	if (m->sys->ioctl(m->part_fd, MSHV_SET_MSI_ROUTING, t) < 0)
		r = err_errno(e, errno, "interrupt routes");
	free(t);
	return r;
}

static int hv_mshv_irqfd(struct hv *hv, int fd, uint32_t gsi, struct err *e)
{
	struct mshv_hv *m = of(hv);
	struct mshv_user_irqfd a = { .fd = fd, .resamplefd = -1, .gsi = gsi };

	return m->sys->ioctl(m->part_fd, MSHV_IRQFD, &a) < 0
		       ? err_errno(e, errno, "irqfd for gsi %u", gsi)
		       : 0;
}

static int hv_mshv_doorbell(struct hv *hv, uint64_t gpa, unsigned len, uint64_t match, int fd,
			    bool add, struct err *e)
{
	struct mshv_hv *m = of(hv);
	struct mshv_user_ioeventfd a = { .datamatch = match,
					 .addr = gpa,
					 .len = len,
					 .fd = fd,
					 .flags = 1 << MSHV_IOEVENTFD_BIT_DATAMATCH |
						  (add ? 0 : 1 << MSHV_IOEVENTFD_BIT_DEASSIGN) };

	if (m->sys->ioctl(m->part_fd, MSHV_IOEVENTFD, &a) < 0)
		return err_errno(e, errno, "doorbell at %#llx", (unsigned long long)gpa);
	return 0;
}

static int hv_mshv_msi(struct hv *hv, uint32_t address, uint32_t data, struct err *e)
{
	struct hv_input_assert_virtual_interrupt in = {
		.control = (data >> 8 & 7) | (uint64_t)(data >> 15 & 1) << 32 |
			   (uint64_t)(address >> 2 & 1) << 33,
		.dest_addr = address >> 12 & 0xff,
		.vector = data & 0xff,
	};

	return mshv_hvcall(of(hv), HVCALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in), NULL, 0, 0, e);
}

static int hv_mshv_start_time(struct hv *hv, struct err *e)
{
	return set_property(of(hv), HV_PARTITION_PROPERTY_TIME_FREEZE, 0, e);
}

static const struct hv_ops mshv_ops = {

	.free = hv_mshv_free,
	.map = hv_mshv_map,
	.routes = hv_mshv_routes,
	.irqfd = hv_mshv_irqfd,
	.doorbell = hv_mshv_doorbell,
	.msi = hv_mshv_msi,
	.vcpu_new = mshv_vcpu_new,
	.vcpu_free = mshv_vcpu_free,
	.vcpu_set_state = mshv_vcpu_set_state,
	.vcpu_run = mshv_vcpu_run,
	.vcpu_kick = mshv_vcpu_kick,
	.start_time = hv_mshv_start_time,
	.vcpu_counters = mshv_vcpu_counters,
	.vcpu_crashed = mshv_vcpu_crashed,
};

// Features offered to the guest: clocks, APIC and hypercall registers; what Linux needs to take this for Hyper-V.
static const uint64_t synth_features =
	1ull << HV_SYNTH_HYPERVISOR_PRESENT | 1ull << HV_SYNTH_HV1 |
	1ull << HV_SYNTH_ACCESS_PARTITION_REFERENCE_COUNTER |
	1ull << HV_SYNTH_ACCESS_INTR_CTRL_REGS | 1ull << HV_SYNTH_ACCESS_HYPERCALL_REGS |
	1ull << HV_SYNTH_ACCESS_VP_INDEX | 1ull << HV_SYNTH_ACCESS_PARTITION_REFERENCE_TSC |
	1ull << HV_SYNTH_ACCESS_FREQUENCY_REGS;

static int bring_up(struct mshv_hv *m, struct err *e)
{
	struct mshv_create_partition c = { .pt_flags = 1 << MSHV_PT_BIT_LAPIC |
						       1 << MSHV_PT_BIT_X2APIC |
						       1 << MSHV_PT_BIT_GPA_SUPER_PAGES };
	int r;

	m->dev_fd = m->sys->open("/dev/mshv", O_RDWR | O_CLOEXEC);
	if (m->dev_fd < 0)
		return err_errno(e, errno, "open /dev/mshv");
	m->part_fd = m->sys->ioctl(m->dev_fd, MSHV_CREATE_PARTITION, &c);
	if (m->part_fd < 0)
		return err_errno(e, errno, "creating a partition");
	// Early property: before initialisation.
	r = set_property(m, HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, synth_features, e);
	if (r < 0)
		return r;
	if (m->sys->ioctl(m->part_fd, MSHV_INITIALIZE_PARTITION, NULL) < 0)
		return err_errno(e, errno, "initialising the partition");
	r = set_property(m, HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION, 1, e);
	if (r < 0)
		return r;
	return set_property(m, HV_PARTITION_PROPERTY_TIME_FREEZE, 1, e); // until the first run
}

int hv_mshv_open(const struct mshv_sys *sys, const struct hv_client *client, struct hv **ret,
		 struct err *e)
{
	struct mshv_hv *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_errno(e, ENOMEM, "hypervisor");
	m->hv.ops = &mshv_ops;
	m->hv.name = sys->name;
	m->sys = sys;
	m->client = client;
	m->dev_fd = m->part_fd = -1;
	r = bring_up(m, e);
	if (r < 0) {
		hv_mshv_free(&m->hv);
		return err_wrap(e, "hypervisor %s", sys->name);
	}
	*ret = &m->hv;
	return 0;
}
