// SPDX-License-Identifier: Apache-2.0
// The user-visible ABI of /dev/mshv (linux/mshv.h and include/hyperv/ of Linux 6.15 and newer), which Debian 12's headers
// do not have yet. Sizes and offsets are held by the assertions of mshv_abi.c.
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

enum { MSHV_GPAP_ACCESS_TYPE_ACCESSED, MSHV_GPAP_ACCESS_TYPE_DIRTY, MSHV_GPAP_ACCESS_TYPE_COUNT };
enum {
	MSHV_GPAP_ACCESS_OP_NOOP,
	MSHV_GPAP_ACCESS_OP_CLEAR,
	MSHV_GPAP_ACCESS_OP_SET,
	MSHV_GPAP_ACCESS_OP_COUNT
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
	HV_STATUS_INVALID_PARTITION_ID = 0xd,
	HV_STATUS_INVALID_VP_INDEX = 0xe,
	HV_STATUS_NOT_FOUND = 0x10,
	HV_STATUS_INVALID_PORT_ID = 0x11,
	HV_STATUS_INVALID_CONNECTION_ID = 0x12,
	HV_STATUS_INSUFFICIENT_BUFFERS = 0x13,
	HV_STATUS_NOT_ACKNOWLEDGED = 0x14,
	HV_STATUS_INVALID_VP_STATE = 0x15,
	HV_STATUS_NO_RESOURCES = 0x1d,
	HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED = 0x20,
	HV_STATUS_INVALID_LP_INDEX = 0x41,
	HV_STATUS_INVALID_REGISTER_VALUE = 0x50,
	HV_STATUS_OPERATION_FAILED = 0x71,
	HV_STATUS_INSUFFICIENT_ROOT_MEMORY = 0x73,
	HV_STATUS_INSUFFICIENT_CONTIGUOUS_MEMORY = 0x75,
	HV_STATUS_TIME_OUT = 0x78,
	HV_STATUS_INSUFFICIENT_CONTIGUOUS_ROOT_MEMORY = 0x83,
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
	HV_PARTITION_PROPERTY_SUSPEND = 0x20000,
	HV_PARTITION_PROPERTY_TIME_FREEZE = 0x30003,
	HV_PARTITION_PROPERTY_REFERENCE_TIME = 0x30005,
	HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET = 0x50003,
	HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING = 0x50005,
	HV_PARTITION_PROPERTY_ISOLATION_STATE = 0x5000c,
	HV_PARTITION_PROPERTY_IMPLEMENTED_PHYSICAL_ADDRESS_BITS = 0x50010,
	HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION = 0x50017,
	HV_PARTITION_PROPERTY_PROCESSOR_VENDOR = 0x60000,
	HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES = 0x60002,
	HV_PARTITION_PROPERTY_PROCESSOR_CL_FLUSH_SIZE = 0x60003,
	HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH = 0x60006,
	HV_PARTITION_PROPERTY_XSAVE_STATES = 0x60007,
	HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE = 0x60008,
	HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY = 0x60009,
	HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0 = 0x6000a,
	HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1 = 0x6000b,
	HV_PARTITION_PROPERTY_GUEST_OS_ID = 0x70000,
	HV_PARTITION_PROPERTY_VMM_CAPABILITIES = 0x90007,
	HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES = 0x90009,
};
enum { HV_PROCESSOR_VENDOR_AMD, HV_PROCESSOR_VENDOR_INTEL };
// hv_partition_synthetic_processor_features
enum {
	HV_SYNTH_HYPERVISOR_PRESENT = 0,
	HV_SYNTH_HV1 = 1,
	HV_SYNTH_ACCESS_VP_RUN_TIME_REG = 2,
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
	HV_SYNTH_ACCESS_VP_REGS = 38,
	HV_SYNTH_FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE = 53,
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
	HV_REGISTER_INTERCEPT_SUSPEND = 1,
	HV_REGISTER_INSTRUCTION_EMULATION_HINTS = 2,
	HV_REGISTER_DISPATCH_SUSPEND = 3,
	HV_REGISTER_INTERNAL_ACTIVITY_STATE = 4,
	HV_REGISTER_HYPERVISOR_VERSION = 0x100,
	HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO = 0x200,
	HV_REGISTER_FEATURES_INFO = 0x201,
	HV_REGISTER_IMPLEMENTATION_LIMITS_INFO = 0x202,
	HV_REGISTER_HARDWARE_FEATURES_INFO = 0x203,
	HV_REGISTER_GUEST_CRASH_P0 = 0x210,
	HV_REGISTER_GUEST_CRASH_CTL = 0x215,
	HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY = 0x240,
	HV_REGISTER_INTERRUPT_CLOCK_FREQUENCY = 0x241,
	HV_REGISTER_GUEST_IDLE = 0x250,
	HV_REGISTER_PENDING_INTERRUPTION = 0x10002,
	HV_REGISTER_INTERRUPT_STATE = 0x10003,
	HV_REGISTER_PENDING_EVENT0 = 0x10004,
	HV_REGISTER_PENDING_EVENT1 = 0x10005,
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
	HV_X64_REGISTER_INTERMEDIATE_CR0 = 0x41000,
	HV_X64_REGISTER_INTERMEDIATE_CR3 = 0x41002,
	HV_X64_REGISTER_INTERMEDIATE_CR4 = 0x41003,
	HV_X64_REGISTER_INTERMEDIATE_CR8 = 0x41004,
	HV_X64_REGISTER_DR0 = 0x50000,
	HV_X64_REGISTER_DR6 = 0x50004,
	HV_X64_REGISTER_DR7 = 0x50005,
	HV_X64_REGISTER_ES = 0x60000,
	HV_X64_REGISTER_CS = 0x60001,
	HV_X64_REGISTER_SS = 0x60002,
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
	HV_X64_REGISTER_INITIAL_APIC_ID = 0x8000c,
	HV_X64_REGISTER_MSR_MTRR_CAP = 0x8000d,
	HV_X64_REGISTER_MSR_MTRR_DEF_TYPE = 0x8000e,
	HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 = 0x80010,
	HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 = 0x80040,
	HV_X64_REGISTER_MSR_MTRR_FIX64K00000 = 0x80070,
	HV_X64_REGISTER_TSC_AUX = 0x8007b,
	HV_X64_REGISTER_DEBUG_CTL = 0x8007d,
	HV_X64_REGISTER_SPEC_CTRL = 0x80084,
	HV_X64_REGISTER_PRED_CMD = 0x80085,
	HV_X64_REGISTER_MSR_IA32_MISC_ENABLE = 0x800a0,
	HV_X64_REGISTER_IA32_FEATURE_CONTROL = 0x800a1,
	HV_X64_REGISTER_APIC_ID = 0x84802,
	HV_X64_REGISTER_APIC_VERSION = 0x84803,
	HV_REGISTER_VP_RUNTIME = 0x90000,
	HV_X64_REGISTER_HYPERCALL = 0x90001,
	HV_REGISTER_GUEST_OS_ID = 0x90002,
	HV_REGISTER_VP_INDEX = 0x90003,
	HV_REGISTER_TIME_REF_COUNT = 0x90004,
	HV_X64_REGISTER_SYNTHETIC_EOI = 0x90010,
	HV_X64_REGISTER_SYNTHETIC_ICR = 0x90011,
	HV_X64_REGISTER_SYNTHETIC_TPR = 0x90012,
	HV_REGISTER_VP_ASSIST_PAGE = 0x90013,
	HV_REGISTER_REFERENCE_TSC = 0x90017,
	HV_REGISTER_SINT0 = 0xa0000,
	HV_REGISTER_SCONTROL = 0xa0010,
	HV_REGISTER_SVERSION = 0xa0011,
	HV_REGISTER_SIEFP = 0xa0012,
	HV_REGISTER_SIMP = 0xa0013,
	HV_REGISTER_EOM = 0xa0014,
	HV_REGISTER_SIRBP = 0xa0015,
	HV_REGISTER_STIMER0_CONFIG = 0xb0000,
	HV_REGISTER_STIMER3_COUNT = 0xb0007,
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
struct hv_input_get_partition_property_ex {
	uint64_t partition_id;
	uint32_t property_code, padding;
	uint64_t arg;
};
struct hv_partition_property_banks { // vmm capabilities, synthetic features: one bank each
	uint16_t bank_count, reserved[3];
	uint64_t bank[1];
};
struct hv_output_get_partition_property_ex {
	union {
		struct hv_partition_property_banks banks;
		uint8_t buffer[4072];
	} u;
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
	HV_TRANSLATE_TLB_FLUSH_INHIBIT = 0x20,
	HV_TRANSLATE_SUPERVISOR_ACCESS = 0x40,
	HV_TRANSLATE_USER_ACCESS = 0x80,
	HV_TRANSLATE_ENFORCE_SMAP = 0x100,
	HV_TRANSLATE_OVERRIDE_SMAP = 0x200,
	HV_TRANSLATE_SHADOW_STACK = 0x400
};
enum {
	HV_TRANSLATE_SUCCESS = 0,
	HV_TRANSLATE_PAGE_NOT_PRESENT = 1,
	HV_TRANSLATE_PRIVILEGE_VIOLATION = 2,
	HV_TRANSLATE_INVALID_PAGE_TABLE_FLAGS = 3,
	HV_TRANSLATE_GPA_UNMAPPED = 4,
	HV_TRANSLATE_GPA_NO_READ_ACCESS = 5,
	HV_TRANSLATE_GPA_NO_WRITE_ACCESS = 6,
	HV_TRANSLATE_GPA_ILLEGAL_OVERLAY_ACCESS = 7,
	HV_TRANSLATE_INTERCEPT = 8,
	HV_TRANSLATE_GPA_UNACCEPTED = 9
};
enum { HV_TRANSLATE_OVERLAY_PAGE = 1 << 8, HV_CACHE_TYPE_WRITE_BACK = 6 }; // in cache_overlay
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
	HV_INTERCEPT_TYPE_X64_MSR = 1, // those the hypervisor does not have
	HV_INTERCEPT_TYPE_X64_CPUID = 2,
	HV_INTERCEPT_TYPE_EXCEPTION = 3,
	HV_INTERCEPT_TYPE_X64_MSR_INDEX = 12 // one MSR, whatever it is
};
enum {
	HV_INTERCEPT_ACCESS_MASK_NONE = 0,
	HV_INTERCEPT_ACCESS_MASK_READ = 1,
	HV_INTERCEPT_ACCESS_MASK_WRITE = 2,
	HV_INTERCEPT_ACCESS_MASK_EXECUTE = 4
};
struct hv_input_clear_virtual_interrupt {
	uint64_t partition_id;
};
struct hv_input_get_vp_cpuid_values { // then per rep hv_cpuid_leaf_info; out: EAX EBX ECX EDX
	uint64_t partition_id;
	uint32_t vp_index, flags, reserved, padding;
};
struct hv_cpuid_leaf_info {
	uint32_t eax, ecx;
	uint64_t xfem, xss;
};
struct hv_input_signal_event_direct {
	uint64_t partition_id;
	uint32_t vp_index;
	uint8_t vtl, sint;
	uint16_t flag_number;
};
struct hv_output_signal_event_direct {
	uint8_t newly_signaled, reserved[7];
};
struct hv_input_get_gpa_pages_access_state { // out: a byte a page
	uint64_t partition_id, flags, gpa_page_number;
};
enum {
	HV_GPA_CLEAR_ACCESSED = 1,
	HV_GPA_SET_ACCESSED = 2,
	HV_GPA_CLEAR_DIRTY = 4,
	HV_GPA_SET_DIRTY = 8
};
enum { HV_GPA_STATE_ACCESSED = 1, HV_GPA_STATE_DIRTY = 2 };
enum {
	HV_X64_INTERRUPT_TYPE_FIXED = 0,
	HV_X64_INTERRUPT_TYPE_LOWESTPRIORITY = 1,
	HV_X64_INTERRUPT_TYPE_SMI = 2,
	HV_X64_INTERRUPT_TYPE_REMOTEREAD = 3,
	HV_X64_INTERRUPT_TYPE_NMI = 4,
	HV_X64_INTERRUPT_TYPE_INIT = 5,
	HV_X64_INTERRUPT_TYPE_SIPI = 6,
	HV_X64_INTERRUPT_TYPE_EXTINT = 7,
	HV_X64_INTERRUPT_TYPE_LOCALINT0 = 8,
	HV_X64_INTERRUPT_TYPE_LOCALINT1 = 9
};
// hv_deliverability_notifications_register
enum {
	HV_NOTIFY_NMI = 1,
	HV_NOTIFY_INTERRUPT = 2,
	HV_NOTIFY_PRIORITY_SHIFT = 2, // four bits
	HV_NOTIFY_SINTS_SHIFT = 48
};
// hv_x64_pending_interruption_register.interruption_type
enum {
	HV_PENDING_INTERRUPT = 0,
	HV_PENDING_NMI = 2,
	HV_PENDING_EXCEPTION = 3,
	HV_PENDING_SOFTWARE_INTERRUPT = 4,
	HV_PENDING_PRIVILEGED_SOFTWARE_EXCEPTION = 5,
	HV_PENDING_SOFTWARE_EXCEPTION = 6
};

// ---- messages
enum {
	HVMSG_NONE = 0,
	HVMSG_UNMAPPED_GPA = (int)0x80000000,
	HVMSG_GPA_INTERCEPT = (int)0x80000001,
	HVMSG_TIMER_EXPIRED = (int)0x80000010,
	HVMSG_INVALID_VP_REGISTER_VALUE = (int)0x80000020,
	HVMSG_UNRECOVERABLE_EXCEPTION = (int)0x80000021,
	HVMSG_UNSUPPORTED_FEATURE = (int)0x80000022,
	HVMSG_SYNIC_SINT_DELIVERABLE = (int)0x80000062,
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
struct hv_x64_cpuid_intercept_message {
	struct hv_x64_intercept_message_header header;
	uint64_t rax, rcx, rdx, rbx;
	uint64_t default_result_rax, default_result_rcx, default_result_rdx, default_result_rbx;
};
struct hv_x64_exception_intercept_message {
	struct hv_x64_intercept_message_header header;
	uint16_t exception_vector;
	uint8_t exception_info; // error code valid:1 software:1
	uint8_t instruction_byte_count;
	uint32_t error_code;
	uint64_t exception_parameter, reserved;
	uint8_t instruction_bytes[16];
	struct hv_x64_segment_register ds_segment, ss_segment;
	uint64_t gpr[16]; // in encoding order
};
struct hv_x64_invalid_vp_register_message {
	uint32_t vp_index, reserved;
};
struct hv_x64_unsupported_feature_message {
	uint32_t vp_index, feature_code;
	uint64_t feature_parameter;
};
struct hv_x64_interruption_deliverable_message {
	struct hv_x64_intercept_message_header header;
	uint32_t deliverable_type, rsvd; // HV_PENDING_*
};
struct hv_x64_sint_deliverable_message {
	struct hv_x64_intercept_message_header header;
	uint16_t deliverable_sints, rsvd1;
	uint32_t rsvd2;
};
struct hv_x64_sipi_intercept_message {
	struct hv_x64_intercept_message_header header;
	uint32_t target_vp_index, interrupt_vector;
};
struct hv_timer_message_payload {
	uint32_t timer_index, reserved;
	uint64_t expiration_time, delivery_time;
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
		struct hv_x64_cpuid_intercept_message cpuid;
		struct hv_x64_exception_intercept_message exception;
		struct hv_x64_invalid_vp_register_message invalid;
		struct hv_x64_unsupported_feature_message unsupported;
		struct hv_x64_interruption_deliverable_message deliverable;
		struct hv_x64_sint_deliverable_message sints;
		struct hv_x64_sipi_intercept_message sipi;
		struct hv_timer_message_payload timer;
	} u;
};
enum { HV_MESSAGE_FLAG_PENDING = 1 };
struct hv_input_post_message_direct {
	uint64_t partition_id;
	uint32_t vp_index;
	uint8_t vtl, padding[3];
	uint32_t sint;
	uint8_t message[256];
	uint32_t padding2;
};

// ---- the synthetic interrupt controller
enum { HV_SYNIC_SINTS = 16, HV_SYNIC_STIMERS = 4, HV_SYNIC_FIRST_VALID_VECTOR = 16 };
#define HV_SINT_MASKED (1ull << 16)
#define HV_SINT_AUTO_EOI (1ull << 17)
#define HV_SINT_POLLING (1ull << 18)
#define HV_STIMER_ENABLE (1ull << 0)
#define HV_STIMER_PERIODIC (1ull << 1)
#define HV_STIMER_LAZY (1ull << 2)
#define HV_STIMER_AUTO_ENABLE (1ull << 3)
#define HV_STIMER_DIRECT (1ull << 12)
struct hv_message_page {
	struct hv_message sint[HV_SYNIC_SINTS];
};
struct hv_synic_event_flags_page {
	uint8_t flags[HV_SYNIC_SINTS][256];
};
struct hv_stimer_state {
	uint32_t flags, resvd; // bit 0: an undelivered message is pending
	uint64_t config, count, adjustment, undelivered_exp_time;
};
struct hv_synthetic_timers_state {
	struct hv_stimer_state timers[HV_SYNIC_STIMERS];
	uint64_t reserved[5];
};
struct ms_hyperv_tsc_page {
	uint32_t tsc_sequence, reserved1;
	uint64_t tsc_scale;
	int64_t tsc_offset;
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
	uint8_t vector_count, vectors[7]; // interrupts for the next dispatch
};

// hv_local_interrupt_controller_state: u32 each, in a page of its own
struct hv_local_interrupt_controller_state {
	uint32_t apic_id, version, ldr, dfr, spurious, isr[8], tmr[8], irr[8], esr, icr_high,
		icr_low, lvt_timer, lvt_thermal, lvt_perfmon, lvt_lint0, lvt_lint1, lvt_error,
		lvt_cmci, error_status, initial_count, counter_value, divide_configuration,
		remote_read;
};

#endif
