// SPDX-License-Identifier: Apache-2.0
// The programs of a pod: each gets its descriptors by number from a written list, and nothing else.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "runtime/locate.h"
#include "runtime/machine.h"
#include "runtime/pod_priv.h"
#include "runtime/share.h"

#define POD_FS_TAG "bulkhead"
// mitigations=off: the guest kernel guards no one from anyone, its one tenant is the pod, and each mitigation is
// instructions on the soft partition. panic=-1: a panic ends the machine at once, which the supervisor sees.
#define POD_CMDLINE "console=hvc0 quiet panic=-1 mitigations=off"

static int spawn_fs(struct pod *p, int socket_fd, int share_fd, int log_fd, struct err *e)
{
	char path[LOCATE_BYTES], id[256];
	char *argv[] = { path,
			 (char[]){ "--socket-fd" },
			 (char[]){ "3" },
			 (char[]){ "--share-fd" },
			 (char[]){ "4" },
			 (char[]){ "--name" },
			 id,
			 NULL };
	char *envp[] = { NULL };
	int map[] = { -1, -1, log_fd, socket_fd, share_fd };
	int r = locate_program("bulkhead-fs", path, e);

	if (r < 0)
		return r;
	(void)snprintf(id, sizeof(id), "%s", p->id); // an id is at most NAME_MAX
	return io_spawn(path, argv, envp, map, 5, IO_SPAWN_PDEATH_KILL, &p->fs.pid, &p->fs.pidfd,
			e);
}

static int spawn_vmm(struct pod *p, const struct pod_config *cfg, const int *map, unsigned nmap,
		     struct err *e)
{
	char path[LOCATE_BYTES], id[256], hv[16], memory[32], vcpus[16],
		cmdline[sizeof(POD_CMDLINE) + 1 + MACHINE_PARAMETERS_BYTES], tag[] = POD_FS_TAG;
	char *argv[] = { path,
			 (char[]){ "--name" },
			 id,
			 (char[]){ "--hypervisor" },
			 hv,
			 (char[]){ "--memory" },
			 memory,
			 (char[]){ "--vcpus" },
			 vcpus,
			 (char[]){ "--cmdline" },
			 cmdline,
			 (char[]){ "--kernel-fd" },
			 (char[]){ "3" },
			 (char[]){ "--initrd-fd" },
			 (char[]){ "4" },
			 (char[]){ "--console-fd" },
			 (char[]){ "5" },
			 (char[]){ "--serial-fd" },
			 (char[]){ "6" },
			 (char[]){ "--vsock-listen-fd" },
			 (char[]){ "7" },
			 (char[]){ "--vsock-dir-fd" },
			 (char[]){ "8" },
			 (char[]){ "--fs-fd" },
			 (char[]){ "9" },
			 (char[]){ "--control-fd" },
			 (char[]){ "10" },
			 (char[]){ "--vsock-cid" },
			 (char[]){ "3" },
			 (char[]){ "--fs-tag" },
			 tag,
			 NULL };
	char *envp[] = { NULL };
	int r = cfg->vmm ? 0 : locate_program("bulkhead-vmm", path, e);

	if (r < 0)
		return r;
	if (cfg->vmm)
		(void)snprintf(path, sizeof(path), "%s", cfg->vmm); // checked before
	(void)snprintf(id, sizeof(id), "%s", p->id);                // an id is at most NAME_MAX
	(void)snprintf(hv, sizeof(hv), "%s", cfg->hypervisor);      // one of four words
	(void)snprintf(memory, sizeof(memory), "%llu",
		       (unsigned long long)cfg->memory_bytes);  // fits
	(void)snprintf(vcpus, sizeof(vcpus), "%u", cfg->vcpus); // fits
	(void)snprintf(cmdline, sizeof(cmdline), "%s%s%s", POD_CMDLINE,
		       cfg->kernel_parameters ? " " : "",
		       cfg->kernel_parameters ? cfg->kernel_parameters : ""); // fits
	return io_spawn(path, argv, envp, map, nmap,
			IO_SPAWN_NNP | IO_SPAWN_DROP_CAPS | IO_SPAWN_PDEATH_KILL, &p->vmm.pid,
			&p->vmm.pidfd, e);
}

int pod_spawn(struct pod *p, const struct pod_config *cfg, struct err *e)
{
	int kernel AUTO_CLOSE = -1, initrd AUTO_CLOSE = -1, console AUTO_CLOSE = -1,
		   messages AUTO_CLOSE = -1;
	int listener AUTO_CLOSE = -1, dir AUTO_CLOSE = -1, share AUTO_CLOSE = -1;
	int fs_ours AUTO_CLOSE = -1, fs_theirs AUTO_CLOSE = -1, ctl_theirs AUTO_CLOSE = -1;
	int pair[2], r;

	kernel = locate_open_kernel(cfg->kernel, e);
	if (kernel < 0)
		return kernel;
	initrd = open(cfg->initrd, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (initrd < 0)
		return err_errno(e, errno, "initramfs %s", cfg->initrd);
	dir = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(e, errno, "open %s", p->dir);
	listener = usock_listen(p->dir, "vsock.sock", e);
	if (listener < 0)
		return listener;
	if ((r = pod_log_open(p, &p->console, "console.log", &console, e)) < 0 ||
	    (r = pod_log_open(p, &p->messages, "messages.log", &messages, e)) < 0 ||
	    (r = share_make(p->share_dir, &share, e)) < 0)
		return r;
	p->messages.errors_only = true;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, errno, "socketpair");
	fs_ours = pair[0];
	fs_theirs = pair[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, errno, "socketpair");
	p->control_fd = pair[0];
	ctl_theirs = pair[1];
	r = spawn_fs(p, fs_theirs, share, messages, e);
	if (r < 0)
		return r;
	{
		int map[] = { -1,      -1,       messages, kernel,  initrd,    console,
			      console, listener, dir,      fs_ours, ctl_theirs };

		return spawn_vmm(p, cfg, map, sizeof(map) / sizeof(map[0]), e);
	}
}
