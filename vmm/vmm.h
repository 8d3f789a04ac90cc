// SPDX-License-Identifier: Apache-2.0
// The machine: numbers, strings and open descriptors in, a running guest out. Knows nothing of JSON or containers.
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct loop;
struct vmm;

enum vmm_hypervisor { VMM_HV_AUTO, VMM_HV_MSHV, VMM_HV_KVM, VMM_HV_SOFT };

enum { VMM_VCPUS_MAX = 8 };

// Descriptors are borrowed for the machine's life; -1 where absent.
struct vmm_config {
	enum vmm_hypervisor hypervisor;
	uint64_t memory_bytes;
	unsigned vcpus;  // 1 to VMM_VCPUS_MAX
	bool bare_metal; // a test guest: multiboot or PVH entry, and a port to exit by
	int kernel_fd;   // ELF vmlinux, or the test guest
	int initrd_fd;   // cpio, or -1
	const char *cmdline;
	int console_fd; // guest log (virtio-console), or -1
	int serial_fd;  // early boot and panic output (16550), or -1
	uint64_t vsock_cid;
	int vsock_listen_fd, vsock_dir_fd;
	int fs_fd; // vhost-user socket of bulkhead-fs, or -1
	const char *fs_tag;
};

enum vmm_end {
	VMM_END_NONE,
	VMM_END_SHUTDOWN,
	VMM_END_RESET,
	VMM_END_PANIC,
	VMM_END_TRIPLE_FAULT,
	VMM_END_ERROR,
	VMM_END_EXIT // by the port of bare-metal test guests
};

enum { VMM_EXIT_REASONS_MAX = 24 };
struct vmm_net_counters {
	uint64_t frames, bytes, notifications; // kicks taken, or interrupts asked for
	uint64_t malformed, oversized, lost;   // dropped: by the header, the length, the port
	uint64_t refused;                      // dropped: by the egress policy
};
struct vmm_counters {
	uint64_t instructions; // 0 where the hypervisor does not count
	uint64_t doorbells, interrupts;
	struct {
		const char *reason; // "mmio ioapic", "io serial", ...: literal
		uint64_t count;
	} intercepts[VMM_EXIT_REASONS_MAX];
	unsigned n_intercepts;
	struct vmm_net_counters net_out, net_in; // of all interfaces; out: from the guest
};

// A network interface. fds (one a pair of queues) are owned by the call, also on failure.
enum vmm_net_kind { VMM_NET_TAP, VMM_NET_STREAM };
enum { VMM_NETS_MAX = 8, VMM_NET_PAIRS_MAX = 8, VMM_EGRESS_BYTES_MAX = 1 << 16 };
struct vmm_net {
	enum vmm_net_kind
		kind; // tap: with IFF_VNET_HDR. stream: frames behind 4 bytes of length, as passt's socket
	uint8_t mac[6];
	uint16_t mtu;
	bool offloads; // tap: checksums and segmentation
	const int *fds;
	unsigned n_fds;
	const char *
		egress; // the text of its policy (vmm/virtio/egress.h); NULL: every frame may leave
	size_t egress_bytes;
	// Its other end has gone: the link is down for good. At most once, on the loop.
	void (*gone)(void *arg, unsigned slot, const char *why);
	void *arg;
};

// Builds the machine (opens the hypervisor, loads the kernel). Caller runs `loop`.
int vmm_new(const struct vmm_config *cfg, struct loop *loop, struct vmm **ret_vmm, struct err *e);
// Starts the vCPU threads. on_end is called once, on the loop, when the guest has ended; text is for the log.
int vmm_start(struct vmm *v, void (*on_end)(void *arg, enum vmm_end end, const char *text),
	      void *arg, struct err *e);
// Puts an interface into a free slot, at any time. The guest sees it when it looks at that virtio-mmio window again. Loop
// thread. -ENOSPC: all VMM_NETS_MAX slots are taken.
int vmm_plug_net(struct vmm *v, const struct vmm_net *net, unsigned *ret_slot, struct err *e);
// The threads that run the guest, after vmm_start; returns how many.
unsigned vmm_vcpu_tids(const struct vmm *v, pid_t ret[VMM_VCPUS_MAX]);
// Stops the vCPUs at once (idempotent) and frees everything.
void vmm_free(struct vmm *v);
void vmm_get_counters(struct vmm *v, struct vmm_counters *ret); // loop thread
unsigned
vmm_exit_code(struct vmm *v); // after on_end with VMM_END_EXIT: 1 to 255, as an exit status
const char *vmm_hypervisor_name(struct vmm *v);

// Can this back end be used here? 0, or -errno with the reason in e. For `bulkhead check`.
int vmm_hypervisor_probe(enum vmm_hypervisor hv, struct err *e);

#endif
