// SPDX-License-Identifier: Apache-2.0
// The system calls a running file server makes, and no others: what is left to somebody who takes it over is to be a
// file server. An unexpected call fails with EPERM instead of killing the pod's root file system.
#include "vmm/fs/fs.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/err.h"

#if defined(__x86_64__)
#define FS_AUDIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FS_AUDIT_ARCH AUDIT_ARCH_AARCH64
#else
#error "the file server's system call filter does not know this architecture"
#endif

static const int allowed[] = {
	// the loop, the front end's socket, the queues' eventfds, the log
	SYS_read,
	SYS_write,
	SYS_sendmsg,
	SYS_recvmsg,
	SYS_epoll_ctl,
	SYS_epoll_pwait,
	SYS_close,
	SYS_fcntl,
	SYS_clock_gettime,
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
#endif
	// files
	SYS_openat,
	SYS_statx,
	SYS_newfstatat,
	SYS_fstat,
	SYS_fstatfs,
	SYS_lseek,
	SYS_getdents64,
	SYS_preadv,
	SYS_pwritev2,
	SYS_pwritev,
	SYS_preadv2,
	SYS_ftruncate,
	SYS_fallocate,
	SYS_copy_file_range,
	SYS_fsync,
	SYS_fdatasync,
	SYS_syncfs,
	SYS_fchownat,
	SYS_fchmodat,
	SYS_utimensat,
	SYS_mkdirat,
	SYS_mknodat,
	SYS_symlinkat,
	SYS_linkat,
	SYS_unlinkat,
	SYS_renameat2,
	SYS_renameat, // what the C library makes of renameat2 without flags
	SYS_readlinkat,
	SYS_fsetxattr,
	SYS_fgetxattr,
	SYS_flistxattr,
	SYS_fremovexattr,
	// whose files they are
	SYS_setfsuid,
	SYS_setfsgid,
	SYS_capset,
	// memory, the guest's and our own
	SYS_mmap,
	SYS_munmap,
	SYS_mremap,
	SYS_mprotect,
	SYS_madvise,
	SYS_brk,
	SYS_futex,
	SYS_getrandom,
	// signals and the end
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_restart_syscall,
	SYS_getpid,
	SYS_gettid,
	SYS_tgkill,
	SYS_exit,
	SYS_exit_group,
};

enum { ALLOWED = sizeof(allowed) / sizeof(allowed[0]), FRAME = 6 };

int fs_seccomp(struct err *e)
{
	struct sock_filter prog[FRAME + 2 * ALLOWED];
	struct sock_fprog fprog = { .len = FRAME + 2 * ALLOWED, .filter = prog };
	struct sock_filter *p = prog;

	*p++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					    offsetof(struct seccomp_data, arch));
	*p++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FS_AUDIT_ARCH, 1, 0);
	*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	*p++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					    offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < ALLOWED; i++) {
		*p++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i],
						    0, 1);
		*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	fprog.len = (unsigned short)(p - prog);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "no_new_privs");
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &fprog, 0, 0) < 0)
		return err_errno(e, errno, "system call filter");
	return 0;
}
