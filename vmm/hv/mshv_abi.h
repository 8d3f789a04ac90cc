// SPDX-License-Identifier: Apache-2.0
// The user-visible ABI of /dev/mshv (linux/mshv.h and include/hyperv/ of Linux 6.15 and newer), which Debian 12's headers
// do not have yet. Sizes and offsets are held by assertions at the end.
#ifndef VMM_HV_MSHV_ABI_H
#define VMM_HV_MSHV_ABI_H

#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

// ---- ioctls
#define MSHV_IOCTL 0xB8

struct mshv_create_partition {
	uint64_t pt_flags, pt_isolation;
};
enum {
	MSHV_PT_BIT_LAPIC,
	MSHV_PT_BIT_X2APIC,
	MSHV_PT_BIT_GPA_SUPER_PAGES,
	MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES,
	MSHV_PT_BIT_NESTED_VIRTUALIZATION,
	MSHV_PT_BIT_SMT_ENABLED_GUEST,
	MSHV_PT_BIT_COUNT
};
struct mshv_create_partition_v2 {
	uint64_t pt_flags, pt_isolation;
	uint16_t pt_num_cpu_fbanks;
	uint8_t pt_rsvd[6];
	uint64_t pt_cpu_fbanks[2];
	uint64_t pt_rsvd1[2];
	uint64_t pt_disabled_xsave;
} __attribute__((packed));
struct mshv_create_vp {
	uint32_t vp_index;
};
struct mshv_user_mem_region {
	uint64_t size, guest_pfn, userspace_addr;
	uint8_t flags, rsvd[7];
};
enum {
	MSHV_SET_MEM_BIT_WRITABLE,
	MSHV_SET_MEM_BIT_EXECUTABLE,
	MSHV_SET_MEM_BIT_UNMAP,
	MSHV_SET_MEM_BIT_COUNT
};
struct mshv_user_irqfd {
	int32_t fd, resamplefd;
	uint32_t gsi, flags;
};
enum { MSHV_IRQFD_BIT_DEASSIGN, MSHV_IRQFD_BIT_RESAMPLE, MSHV_IRQFD_BIT_COUNT };
struct mshv_user_ioeventfd {
	uint64_t datamatch, addr;
	uint32_t len;
	int32_t fd;
	uint32_t flags;
	uint8_t rsvd[4];
};
enum {
	MSHV_IOEVENTFD_BIT_DATAMATCH,
	MSHV_IOEVENTFD_BIT_PIO,
	MSHV_IOEVENTFD_BIT_DEASSIGN,
	MSHV_IOEVENTFD_BIT_COUNT
};
struct mshv_user_irq_entry {
	uint32_t gsi, address_lo, address_hi, data;
};
struct mshv_user_irq_table {
	uint32_t nr, rsvd;
	struct mshv_user_irq_entry entries[];
};
struct mshv_gpap_access_bitmap {
	uint8_t access_type, access_op, rsvd[6];
	uint64_t page_count, gpap_base, bitmap_ptr;
};
struct mshv_root_hvcall {
	uint16_t code, reps, in_sz, out_sz, status;
	uint8_t rsvd[6];
	uint64_t in_ptr, out_ptr;
};
struct mshv_run_vp {
	uint8_t msg_buf[256];
};
struct mshv_get_set_vp_state {
	uint8_t type, rsvd[3];
	uint32_t buf_sz;
	uint64_t buf_ptr;
};
enum {
	MSHV_VP_STATE_LAPIC,
	MSHV_VP_STATE_XSAVE,
	MSHV_VP_STATE_SIMP,
	MSHV_VP_STATE_SIEFP,
	MSHV_VP_STATE_SYNTHETIC_TIMERS,
	MSHV_VP_STATE_COUNT
};
enum {
	MSHV_VP_MMAP_OFFSET_REGISTERS,
	MSHV_VP_MMAP_OFFSET_INTERCEPT_MESSAGE,
	MSHV_VP_MMAP_OFFSET_GHCB
};

#define MSHV_CREATE_PARTITION _IOW(MSHV_IOCTL, 0x00, struct mshv_create_partition)
#define MSHV_ROOT_HVCALL _IOWR(MSHV_IOCTL, 0x07, struct mshv_root_hvcall)
#define MSHV_INITIALIZE_PARTITION _IO(MSHV_IOCTL, 0x00)
#define MSHV_CREATE_VP _IOW(MSHV_IOCTL, 0x01, struct mshv_create_vp)
#define MSHV_SET_GUEST_MEMORY _IOW(MSHV_IOCTL, 0x02, struct mshv_user_mem_region)
#define MSHV_IRQFD _IOW(MSHV_IOCTL, 0x03, struct mshv_user_irqfd)
#define MSHV_IOEVENTFD _IOW(MSHV_IOCTL, 0x04, struct mshv_user_ioeventfd)
#define MSHV_SET_MSI_ROUTING _IOW(MSHV_IOCTL, 0x05, struct mshv_user_irq_table)
#define MSHV_GET_GPAP_ACCESS_BITMAP _IOWR(MSHV_IOCTL, 0x06, struct mshv_gpap_access_bitmap)
#define MSHV_RUN_VP _IOR(MSHV_IOCTL, 0x00, struct mshv_run_vp)
#define MSHV_GET_VP_STATE _IOWR(MSHV_IOCTL, 0x01, struct mshv_get_set_vp_state)
#define MSHV_SET_VP_STATE _IOWR(MSHV_IOCTL, 0x02, struct mshv_get_set_vp_state)

// ---- hypercall status and codes
enum {
	HV_STATUS_SUCCESS = 0,
	HV_STATUS_INVALID_HYPERCALL_CODE = 2,
	HV_STATUS_INVALID_HYPERCALL_INPUT = 3,
	HV_STATUS_INVALID_ALIGNMENT = 4,
	HV_STATUS_INVALID_PARAMETER = 5,
	HV_STATUS_ACCESS_DENIED = 6,
	HV_STATUS_INVALID_PARTITION_STATE = 7,
	HV_STATUS_OPERATION_DENIED = 8,
	HV_STATUS_UNKNOWN_PROPERTY = 9,
	HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE = 0xa,
	HV_STATUS_INSUFFICIENT_MEMORY = 0xb,
	HV_STATUS_INVALID_VP_INDEX = 0xe,
	HV_STATUS_INVALID_VP_STATE = 0x15,
	HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED = 0x20,
	HV_STATUS_INVALID_REGISTER_VALUE = 0x50,
	HV_STATUS_OPERATION_FAILED = 0x71,
};
enum {
	HVCALL_GET_PARTITION_PROPERTY = 0x44,
	HVCALL_SET_PARTITION_PROPERTY = 0x45,
	HVCALL_INSTALL_INTERCEPT = 0x4d,
	HVCALL_GET_VP_REGISTERS = 0x50,
	HVCALL_SET_VP_REGISTERS = 0x51,
	HVCALL_TRANSLATE_VIRTUAL_ADDRESS = 0x52,
	HVCALL_CLEAR_VIRTUAL_INTERRUPT = 0x56,
	HVCALL_REGISTER_INTERCEPT_RESULT = 0x91,
	HVCALL_ASSERT_VIRTUAL_INTERRUPT = 0x94,
	HVCALL_SIGNAL_EVENT_DIRECT = 0xc0,
	HVCALL_POST_MESSAGE_DIRECT = 0xc1,
	HVCALL_GET_GPA_PAGES_ACCESS_STATES = 0xc9,
	HVCALL_GET_VP_CPUID_VALUES = 0xf4,
	HVCALL_GET_PARTITION_PROPERTY_EX = 0x101,
};
enum {
	HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS = 0x10000,
	HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES = 0x10001,
	HV_PARTITION_PROPERTY_TIME_FREEZE = 0x30003,
	HV_PARTITION_PROPERTY_REFERENCE_TIME = 0x30005,
	HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION = 0x50017,
	HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES = 0x60002,
	HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH = 0x60006,
	HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE = 0x60008,
	HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY = 0x60009,
	HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0 = 0x6000a,
	HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1 = 0x6000b,
	HV_PARTITION_PROPERTY_VMM_CAPABILITIES = 0x90007,
};
// hv_partition_synthetic_processor_features
enum {
	HV_SYNTH_HYPERVISOR_PRESENT = 0,
	HV_SYNTH_HV1 = 1,
	HV_SYNTH_ACCESS_PARTITION_REFERENCE_COUNTER = 3,
	HV_SYNTH_ACCESS_SYNIC_REGS = 4,
	HV_SYNTH_ACCESS_SYNTHETIC_TIMER_REGS = 5,
	HV_SYNTH_ACCESS_INTR_CTRL_REGS = 6,
	HV_SYNTH_ACCESS_HYPERCALL_REGS = 7,
	HV_SYNTH_ACCESS_VP_INDEX = 8,
	HV_SYNTH_ACCESS_PARTITION_REFERENCE_TSC = 9,
	HV_SYNTH_ACCESS_GUEST_IDLE_REG = 10,
	HV_SYNTH_ACCESS_FREQUENCY_REGS = 11,
	HV_SYNTH_DIRECT_SYNTHETIC_TIMERS = 22,
	HV_SYNTH_TB_FLUSH_HYPERCALLS = 25,
	HV_SYNTH_SYNTHETIC_CLUSTER_IPI = 26,
};

// ---- registers
struct hv_x64_segment_register {
	uint64_t base;
	uint32_t limit;
	uint16_t selector, attributes;
};
struct hv_x64_table_register {
	uint16_t pad[3];
	uint16_t limit;
	uint64_t base;
};
union hv_register_value {
	struct {
		uint64_t low, high;
	} reg128;
	uint64_t reg64;
	uint32_t reg32;
	uint16_t reg16;
	uint8_t reg8;
	struct hv_x64_segment_register segment;
	struct hv_x64_table_register table;
};
struct hv_register_assoc {
	uint32_t name, reserved1;
	uint64_t reserved2;
	union hv_register_value value;
};
enum {
	HV_REGISTER_EXPLICIT_SUSPEND = 0,
	HV_REGISTER_INTERNAL_ACTIVITY_STATE = 4,
	HV_REGISTER_GUEST_CRASH_P0 = 0x210,
	HV_REGISTER_GUEST_CRASH_CTL = 0x215,
	HV_REGISTER_PENDING_INTERRUPTION = 0x10002,
	HV_REGISTER_INTERRUPT_STATE = 0x10003,
	HV_REGISTER_PENDING_EVENT0 = 0x10004,
	HV_REGISTER_DELIVERABILITY_NOTIFICATIONS = 0x10006,
	HV_X64_REGISTER_RAX = 0x20000,
	HV_X64_REGISTER_RIP = 0x20010,
	HV_X64_REGISTER_RFLAGS = 0x20011,
	HV_X64_REGISTER_XMM0 = 0x30000,
	HV_X64_REGISTER_FP_MMX0 = 0x30010,
	HV_X64_REGISTER_FP_CONTROL_STATUS = 0x30018,
	HV_X64_REGISTER_XMM_CONTROL_STATUS = 0x30019,
	HV_X64_REGISTER_CR0 = 0x40000,
	HV_X64_REGISTER_CR2 = 0x40001,
	HV_X64_REGISTER_CR3 = 0x40002,
	HV_X64_REGISTER_CR4 = 0x40003,
	HV_X64_REGISTER_CR8 = 0x40004,
	HV_X64_REGISTER_XFEM = 0x40005,
	HV_X64_REGISTER_DR0 = 0x50000,
	HV_X64_REGISTER_DR6 = 0x50004,
	HV_X64_REGISTER_DR7 = 0x50005,
	HV_X64_REGISTER_ES = 0x60000,
	HV_X64_REGISTER_TR = 0x60007,
	HV_X64_REGISTER_IDTR = 0x70000,
	HV_X64_REGISTER_GDTR = 0x70001,
	HV_X64_REGISTER_TSC = 0x80000,
	HV_X64_REGISTER_EFER = 0x80001,
	HV_X64_REGISTER_KERNEL_GS_BASE = 0x80002,
	HV_X64_REGISTER_APIC_BASE = 0x80003,
	HV_X64_REGISTER_PAT = 0x80004,
	HV_X64_REGISTER_SYSENTER_CS = 0x80005,
	HV_X64_REGISTER_SYSENTER_EIP = 0x80006,
	HV_X64_REGISTER_SYSENTER_ESP = 0x80007,
	HV_X64_REGISTER_STAR = 0x80008,
	HV_X64_REGISTER_LSTAR = 0x80009,
	HV_X64_REGISTER_CSTAR = 0x8000a,
	HV_X64_REGISTER_SFMASK = 0x8000b,
	HV_X64_REGISTER_MSR_MTRR_CAP = 0x8000d,
	HV_X64_REGISTER_MSR_MTRR_DEF_TYPE = 0x8000e,
	HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 = 0x80010,
	HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 = 0x80040,
	HV_X64_REGISTER_MSR_MTRR_FIX64K00000 = 0x80070,
	HV_X64_REGISTER_TSC_AUX = 0x8007b,
	HV_X64_REGISTER_SPEC_CTRL = 0x80084,
	HV_REGISTER_VP_RUNTIME = 0x90000,
	HV_X64_REGISTER_HYPERCALL = 0x90001,
	HV_REGISTER_GUEST_OS_ID = 0x90002,
	HV_REGISTER_VP_INDEX = 0x90003,
	HV_REGISTER_TIME_REF_COUNT = 0x90004,
	HV_REGISTER_VP_ASSIST_PAGE = 0x90013,
	HV_REGISTER_REFERENCE_TSC = 0x90017,
	HV_REGISTER_SCONTROL = 0xa0010,
	HV_REGISTER_SIEFP = 0xa0012,
	HV_REGISTER_SIMP = 0xa0013,
};
struct hv_input_vp_registers { // get: then u32 names; set: then struct hv_register_assoc
	uint64_t partition_id;
	uint32_t vp_index;
	uint8_t input_vtl, rsvd_z8;
	uint16_t rsvd_z16;
};
struct hv_input_partition_property {
	uint64_t partition_id;
	uint32_t property_code, padding;
	uint64_t property_value; // set only
};
struct hv_input_translate_virtual_address {
	uint64_t partition_id;
	uint32_t vp_index, padding;
	uint64_t control_flags, gva_page;
};
struct hv_output_translate_virtual_address {
	uint32_t result_code, cache_overlay;
	uint64_t gpa_page;
};
enum {
	HV_TRANSLATE_VALIDATE_READ = 1,
	HV_TRANSLATE_VALIDATE_WRITE = 2,
	HV_TRANSLATE_VALIDATE_EXECUTE = 4,
	HV_TRANSLATE_PRIVILEGE_EXEMPT = 8,
	HV_TRANSLATE_SET_PAGE_TABLE_BITS = 0x10,
	HV_TRANSLATE_SUPERVISOR_ACCESS = 0x40,
	HV_TRANSLATE_USER_ACCESS = 0x80
};
enum {
	HV_TRANSLATE_SUCCESS = 0,
	HV_TRANSLATE_PAGE_NOT_PRESENT = 1,
	HV_TRANSLATE_PRIVILEGE_VIOLATION = 2,
	HV_TRANSLATE_INVALID_PAGE_TABLE_FLAGS = 3,
	HV_TRANSLATE_GPA_UNMAPPED = 4
};
struct hv_input_assert_virtual_interrupt {
	uint64_t partition_id, control, dest_addr;
	uint32_t vector;
	uint8_t target_vtl, rsvd_z0;
	uint16_t rsvd_z1;
};
struct hv_input_register_intercept_result {
	uint64_t partition_id;
	uint32_t vp_index, intercept_type, eax, ecx;
	uint8_t subleaf_specific, always_override;
	uint16_t padding;
	uint32_t result[8]; // eax, mask, ebx, mask, ecx, mask, edx, mask
	uint32_t rsvd;
};
struct hv_input_install_intercept {
	uint64_t partition_id;
	uint32_t access_type, intercept_type;
	uint64_t intercept_parameter;
};
enum {
	HV_INTERCEPT_TYPE_X64_IO_PORT = 0,
	HV_INTERCEPT_TYPE_X64_MSR = 1,
	HV_INTERCEPT_TYPE_X64_CPUID = 2
};
enum {
	HV_X64_INTERRUPT_TYPE_FIXED = 0,
	HV_X64_INTERRUPT_TYPE_LOWESTPRIORITY = 1,
	HV_X64_INTERRUPT_TYPE_NMI = 4,
	HV_X64_INTERRUPT_TYPE_INIT = 5,
	HV_X64_INTERRUPT_TYPE_SIPI = 6,
	HV_X64_INTERRUPT_TYPE_EXTINT = 7
};

// ---- messages
enum {
	HVMSG_NONE = 0,
	HVMSG_UNMAPPED_GPA = (int)0x80000000,
	HVMSG_GPA_INTERCEPT = (int)0x80000001,
	HVMSG_INVALID_VP_REGISTER_VALUE = (int)0x80000020,
	HVMSG_UNRECOVERABLE_EXCEPTION = (int)0x80000021,
	HVMSG_UNSUPPORTED_FEATURE = (int)0x80000022,
	HVMSG_X64_IO_PORT_INTERCEPT = (int)0x80010000,
	HVMSG_X64_MSR_INTERCEPT = (int)0x80010001,
	HVMSG_X64_CPUID_INTERCEPT = (int)0x80010002,
	HVMSG_X64_EXCEPTION_INTERCEPT = (int)0x80010003,
	HVMSG_X64_APIC_EOI = (int)0x80010004,
	HVMSG_X64_HALT = (int)0x80010007,
	HVMSG_X64_INTERRUPTION_DELIVERABLE = (int)0x80010008,
};
enum {
	HV_INTERCEPT_ACCESS_READ = 0,
	HV_INTERCEPT_ACCESS_WRITE = 1,
	HV_INTERCEPT_ACCESS_EXECUTE = 2
};
struct hv_message_header {
	int32_t message_type;
	uint8_t payload_size, message_flags, reserved[2];
	uint64_t sender;
};
struct hv_x64_intercept_message_header {
	uint32_t vp_index;
	uint8_t instruction_length; // low four bits; CR8 above
	uint8_t intercept_access_type;
	uint16_t execution_state; // cpl:2 cr0_pe:1 cr0_am:1 efer_lma:1 ...
	struct hv_x64_segment_register cs_segment;
	uint64_t rip, rflags;
};
struct hv_x64_memory_intercept_message {
	struct hv_x64_intercept_message_header header;
	uint32_t cache_type;
	uint8_t instruction_byte_count, memory_access_info, tpr_priority, reserved1;
	uint64_t guest_virtual_address, guest_physical_address;
	uint8_t instruction_bytes[16];
};
enum { HV_MEMORY_ACCESS_GVA_VALID = 1, HV_MEMORY_ACCESS_GVA_GPA_VALID = 2 };
struct hv_x64_io_port_intercept_message {
	struct hv_x64_intercept_message_header header;
	uint16_t port_number;
	uint8_t access_info; // size:3 string:1 rep:1
	uint8_t instruction_byte_count;
	uint32_t reserved;
	uint64_t rax;
	uint8_t instruction_bytes[16];
	struct hv_x64_segment_register ds_segment, es_segment;
	uint64_t rcx, rsi, rdi;
};
struct hv_x64_msr_intercept_message {
	struct hv_x64_intercept_message_header header;
	uint32_t msr_number, reserved;
	uint64_t rdx, rax;
};
struct hv_x64_apic_eoi_message {
	uint32_t vp_index, interrupt_vector;
};
struct hv_message {
	struct hv_message_header header;
	union {
		uint64_t payload[30];
		struct hv_x64_intercept_message_header intercept;
		struct hv_x64_memory_intercept_message memory;
		struct hv_x64_io_port_intercept_message io;
		struct hv_x64_msr_intercept_message msr;
		struct hv_x64_apic_eoi_message eoi;
	} u;
};

// ---- the register page
enum {
	HV_X64_REGISTER_CLASS_GENERAL,
	HV_X64_REGISTER_CLASS_IP,
	HV_X64_REGISTER_CLASS_XMM,
	HV_X64_REGISTER_CLASS_SEGMENT,
	HV_X64_REGISTER_CLASS_FLAGS
};
struct hv_vp_register_page {
	uint16_t version;
	uint8_t isvalid, rsvdz;
	uint32_t dirty;
	uint64_t gp_registers[16]; // in encoding order
	uint64_t rip, rflags;
	uint8_t reserved[8];
	struct {
		uint64_t low, high;
	} xmm[6];
	struct hv_x64_segment_register segment[6]; // es cs ss ds fs gs
	uint64_t cr0, cr3, cr4, cr8, efer, dr7, pending_interruption, interrupt_state,
		instruction_emulation_hints, xfem;
	uint8_t reserved1[256];
	uint64_t interrupt_vectors;
};

// hv_local_interrupt_controller_state: u32 each, in a page of its own
struct hv_local_interrupt_controller_state {
	uint32_t apic_id, version, ldr, dfr, spurious, isr[8], tmr[8], irr[8], esr, icr_high,
		icr_low, lvt_timer, lvt_thermal, lvt_perfmon, lvt_lint0, lvt_lint1, lvt_error,
		lvt_cmci, error_status, initial_count, counter_value, divide_configuration,
		remote_read;
};

#define MSHV_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type)
#define MSHV_AT(type, field, at) _Static_assert(offsetof(type, field) == (at), #type "." #field)
MSHV_SIZE(struct mshv_create_partition, 16);
MSHV_SIZE(struct mshv_create_partition_v2, 64);
MSHV_AT(struct mshv_create_partition_v2, pt_cpu_fbanks, 24);
MSHV_AT(struct mshv_create_partition_v2, pt_disabled_xsave, 56);
MSHV_SIZE(struct mshv_user_mem_region, 32);
MSHV_SIZE(struct mshv_user_irqfd, 16);
MSHV_SIZE(struct mshv_user_ioeventfd, 32);
MSHV_SIZE(struct mshv_user_irq_entry, 16);
MSHV_SIZE(struct mshv_user_irq_table, 8);
MSHV_SIZE(struct mshv_gpap_access_bitmap, 32);
MSHV_SIZE(struct mshv_root_hvcall, 32);
MSHV_SIZE(struct mshv_run_vp, 256);
MSHV_SIZE(struct mshv_get_set_vp_state, 16);
MSHV_SIZE(union hv_register_value, 16);
MSHV_SIZE(struct hv_register_assoc, 32);
MSHV_SIZE(struct hv_input_vp_registers, 16);
MSHV_SIZE(struct hv_input_translate_virtual_address, 32);
MSHV_SIZE(struct hv_output_translate_virtual_address, 16);
MSHV_SIZE(struct hv_input_assert_virtual_interrupt, 32);
MSHV_SIZE(struct hv_input_register_intercept_result, 64);
MSHV_SIZE(struct hv_input_install_intercept, 24);
MSHV_SIZE(struct hv_message, 256);
MSHV_SIZE(struct hv_message_header, 16);
MSHV_SIZE(struct hv_x64_intercept_message_header, 40);
MSHV_SIZE(struct hv_x64_memory_intercept_message, 80);
MSHV_SIZE(struct hv_x64_io_port_intercept_message, 128);
MSHV_AT(struct hv_x64_io_port_intercept_message, rcx, 104);
MSHV_SIZE(struct hv_x64_msr_intercept_message, 64);
MSHV_SIZE(struct hv_vp_register_page, 696);
MSHV_AT(struct hv_vp_register_page, xmm, 160);
MSHV_AT(struct hv_vp_register_page, segment, 256);
MSHV_AT(struct hv_vp_register_page, cr0, 352);
MSHV_AT(struct hv_vp_register_page, interrupt_vectors, 688);

#endif
