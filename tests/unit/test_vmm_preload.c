// SPDX-License-Identifier: Apache-2.0
// libmshv-preload.so under a program that only knows the C library and the device's interface: this one, started again with
// LD_PRELOAD.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/hv/mshv_abi.h"

enum { RAM = 0x10000 };

struct machine {
	int device, partition, vp;
	uint8_t *ram;
};

static int set_registers(int fd, const struct hv_register_assoc *e, unsigned n)
{
	uint8_t in[sizeof(struct hv_input_vp_registers) + 4 * sizeof(*e)] = { 0 };
	struct mshv_root_hvcall a = { .code = HVCALL_SET_VP_REGISTERS,
				      .reps = (uint16_t)n,
				      .in_sz = (uint16_t)(16 + n * sizeof(*e)),
				      .in_ptr = (uintptr_t)in };

	memcpy(in + 16, e, n * sizeof(*e));
	return ioctl(fd, MSHV_ROOT_HVCALL, &a);
}

static int set_rip(int fd, uint64_t rip)
{
	const struct hv_register_assoc e = { .name = HV_X64_REGISTER_RIP, .value.reg64 = rip };

	return set_registers(fd, &e, 1);
}

// One processor in real mode at address 0 of 64 KiB, where the code is.
static void machine_start(struct machine *m, const void *code, size_t bytes)
{
	struct mshv_create_partition create = { .pt_flags = 7 };
	struct mshv_create_vp vp = { 0 };
	struct mshv_user_mem_region memory = { .size = RAM, .flags = 3 };
	const struct hv_register_assoc cs = { .name = HV_X64_REGISTER_ES + 1,
					      .value.segment = { 0, 0xffff, 0, 0x9b } };

	m->device = open("/dev/mshv", O_RDWR | O_CLOEXEC);
	assert_true(m->device >= 0);
	m->partition = ioctl(m->device, MSHV_CREATE_PARTITION, &create);
	assert_true(m->partition >= 0);
	assert_int_equal(ioctl(m->partition, MSHV_INITIALIZE_PARTITION), 0);
	m->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->ram, MAP_FAILED);
	memcpy(m->ram, code, bytes);
	memory.userspace_addr = (uintptr_t)m->ram;
	assert_int_equal(ioctl(m->partition, MSHV_SET_GUEST_MEMORY, &memory), 0);
	m->vp = ioctl(m->partition, MSHV_CREATE_VP, &vp);
	assert_true(m->vp >= 0);
	assert_int_equal(set_registers(m->vp, &cs, 1), 0);
	assert_int_equal(set_rip(m->vp, 0), 0);
}

static void machine_end(struct machine *m)
{
	assert_int_equal(close(m->vp), 0);
	assert_int_equal(close(m->partition), 0);
	assert_int_equal(close(m->device), 0);
	(void)munmap(m->ram, RAM);
}

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static void test_device(void **state)
{
	struct mshv_create_partition bad = { .pt_flags = 1ull << 63 };
	int fd = open("/dev/mshv", O_RDWR | O_CLOEXEC), other;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	errno = 0;
	assert_int_equal(ioctl(fd, MSHV_CREATE_PARTITION, &bad), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ioctl(fd, _IO(MSHV_IOCTL, 0x7f)), -1);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(close(fd), 0);
	assert_int_equal(ioctl(fd, MSHV_CREATE_PARTITION, &bad), -1);
	assert_int_equal(errno, EBADF);
	// What is not the device is the C library's.
	other = openat(AT_FDCWD, "/dev/null", O_RDWR);
	assert_true(other >= 0);
	assert_int_equal(write(other, "x", 1), 1);
	assert_int_equal(ioctl(other, MSHV_CREATE_PARTITION, &bad), -1);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(close(other), 0);
	other = openat(AT_FDCWD, "/dev/mshv", O_RDWR);
	assert_true(other >= 0);
	assert_int_equal(close(other), 0);
}

static void test_guest(void **state)
{
	static const uint8_t code[] = { 0xb0, 'A', 0xe6, 0x77,
					0xf4 }; // mov al, 'A'; out 0x77, al; hlt
	unsigned before = open_files();
	struct hv_message m = { 0 };
	struct machine vm;
	struct hv_vp_register_page *regs;

	(void)state;
	machine_start(&vm, code, sizeof(code));
	regs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vm.vp, 0);
	assert_ptr_not_equal(regs, MAP_FAILED);
	assert_int_equal(ioctl(vm.vp, MSHV_RUN_VP, &m), 0);
	assert_int_equal(m.header.message_type, HVMSG_X64_IO_PORT_INTERCEPT);
	assert_int_equal(m.u.io.port_number, 0x77);
	assert_int_equal(m.u.io.rax & 0xff, 'A');
	assert_int_equal(regs->isvalid, 1);
	assert_int_equal(regs->rip, 2);
	assert_int_equal(set_rip(vm.vp, 4), 0);
	assert_int_equal(ioctl(vm.vp, MSHV_RUN_VP, &m), 0);
	assert_int_equal(m.header.message_type, HVMSG_X64_HALT);
	(void)munmap(regs, 4096);
	machine_end(&vm);
	assert_int_equal(open_files(), before);
}

// ---- signals
static struct {
	struct machine vm;
	pthread_t thread;
	_Atomic int handled[2], ioctl_result; // SIGUSR1, SIGUSR2
	_Atomic bool ended;
	int result, error, handled_at_end;
	bool block;
} run;

static void on_signal(int sig)
{
	// It would wait for itself if it ran while RUN_VP holds the processor.
	if (sig == SIGUSR2)
		atomic_store(&run.ioctl_result, set_rip(run.vm.vp, 0));
	atomic_fetch_add(&run.handled[sig == SIGUSR2], 1);
}

static void *run_vp(void *arg)
{
	struct hv_message m;
	sigset_t usr1;

	(void)sigemptyset(&usr1); // neither fails
	(void)sigaddset(&usr1, SIGUSR1);
	if (run.block)
		(void)pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	run.result = ioctl(run.vm.vp, MSHV_RUN_VP, &m);
	run.error = errno;
	run.handled_at_end = atomic_load(&run.handled[1]);
	atomic_store(&run.ended, true);
	if (run.block)
		(void)pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	return arg;
}

// SIGUSR2 until RUN_VP has ended: one that comes before it is lost, as in the kernel.
static void kick_until_ended(void)
{
	for (int i = 0; i < 500 && !atomic_load(&run.ended); i++) {
		assert_int_equal(pthread_kill(run.thread, SIGUSR2), 0);
		(void)usleep(10000);
	}
	assert_true(atomic_load(&run.ended));
	assert_int_equal(pthread_join(run.thread, NULL), 0);
	assert_int_equal(run.result, -1);
	assert_int_equal(run.error, EINTR);
	assert_true(run.handled_at_end >= 1); // before RUN_VP's caller went on
	assert_int_equal(atomic_load(&run.ioctl_result), 0);
}

static void run_start(const void *code, size_t bytes, bool block)
{
	memset(&run, 0, sizeof(run));
	run.block = block;
	atomic_store(&run.ioctl_result, -1);
	assert_ptr_not_equal(signal(SIGUSR1, on_signal), SIG_ERR);
	assert_ptr_not_equal(signal(SIGUSR2, on_signal), SIG_ERR);
	machine_start(&run.vm, code, bytes);
	assert_int_equal(pthread_create(&run.thread, NULL, run_vp, NULL), 0);
}

static void test_signal_busy(void **state)
{
	static const uint8_t code[] = { 0xeb, 0xfe }; // jmp to itself

	(void)state;
	run_start(code, sizeof(code), false);
	kick_until_ended();
	machine_end(&run.vm);
}

static void test_signal_halted(void **state)
{
	static const uint8_t code[] = { 0xfb, 0xf4, 0xeb, 0xfd }; // sti; hlt; again

	(void)state;
	run_start(code, sizeof(code), false);
	kick_until_ended();
	machine_end(&run.vm);
}

static void test_signal_blocked(void **state)
{
	static const uint8_t code[] = { 0xeb, 0xfe };

	(void)state;
	run_start(code, sizeof(code), true);
	(void)usleep(20000); // most likely in RUN_VP by now; right in any case
	assert_int_equal(pthread_kill(run.thread, SIGUSR1), 0);
	(void)usleep(20000);
	assert_false(atomic_load(&run.ended));
	assert_int_equal(atomic_load(&run.handled[0]), 0);
	kick_until_ended();
	assert_int_equal(atomic_load(&run.handled[0]), 1); // when it was let through
	machine_end(&run.vm);
}

static void test_sigaction(void **state)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, old;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &act, NULL), 0);
	assert_int_equal(sigaction(SIGUSR1, NULL, &old), 0);
	assert_ptr_equal(old.sa_handler, on_signal);
	assert_int_equal(old.sa_flags & (SA_SIGINFO | SA_RESTART), SA_RESTART);
	assert_ptr_equal(signal(SIGUSR1, SIG_IGN), on_signal);
	assert_int_equal(sigaction(SIGUSR1, NULL, &old), 0);
	assert_ptr_equal(old.sa_handler, SIG_IGN);
	assert_int_equal(sigaction(-1, &act, NULL), -1);
	assert_int_equal(errno, EINVAL);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif

static void preload_again(char **argv)
{
	char self[4096], *slash = NULL, library[4200];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return;
	self[n] = 0;
	for (int i = 0; i < 3 && (slash = strrchr(self, '/')); i++) // O/tests/unit/NAME
		*slash = 0;
	(void)snprintf(library, sizeof(library), "%s/lib/libmshv-preload.so", self);
	(void)setenv("LD_PRELOAD", library, 1);
	(void)execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device),         cmocka_unit_test(test_guest),
		cmocka_unit_test(test_signal_busy),    cmocka_unit_test(test_signal_halted),
		cmocka_unit_test(test_signal_blocked), cmocka_unit_test(test_sigaction),
	};

	(void)argc;
	if (SANITIZED) {
		printf("1..0 # SKIP the sanitizer has to be the first library\n");
		return 0;
	}
	if (!getenv("LD_PRELOAD")) {
		preload_again(argv);
		return 1;
	}
	(void)alarm(60); // a handler that ran in the middle of RUN_VP would wait for ever
	return cmocka_run_group_tests(tests, NULL, NULL);
}
