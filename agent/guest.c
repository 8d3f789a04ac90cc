// SPDX-License-Identifier: Apache-2.0
// The guest around the containers: kernel file systems, control groups, the share, loopback, clock, power.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "base/err.h"
#include "base/log.h"
#include "base/own.h"

// needs CONFIG_VIRTIO_FS

#define SHARE_TAG "bulkhead"

static const struct {
	const char *type, *source, *target, *data;
	unsigned long flags;
} guest_mounts[] = {
	{ "proc", "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "sysfs", "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "devtmpfs", "dev", "/dev", "mode=755", MS_NOSUID },
	{ "tmpfs", "run", "/run", "mode=755", MS_NOSUID | MS_NODEV },
	{ "tmpfs", "tmp", "/tmp", NULL, MS_NOSUID | MS_NODEV },
	{ "cgroup2", "cgroup2", "/sys/fs/cgroup", "nsdelegate", MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "virtiofs", SHARE_TAG, AGENT_SHARE, NULL, 0 }, // device nodes in an image are the guest's
};

static int mkdirs(const char *path)
{
	char buf[256];

	for (size_t i = 1; i < sizeof(buf); i++) {
		if (path[i] != '/' && path[i])
			continue;
		memcpy(buf, path, i);
		buf[i] = '\0';
		if (mkdir(buf, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (!path[i])
			return 0;
	}
	return -ENAMETOOLONG;
}

static int loopback_up(struct err *e)
{
	int fd AUTO_CLOSE = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r) < 0)
		return err_errno(e, errno, "bringing lo up");
	return 0;
}

// The initramfs has no parent mount, so pivot_root out of it is refused: a tmpfs takes its place.
static int leave_initramfs(struct err *e)
{
	if ((mkdir("/root", 0700) < 0 && errno != EEXIST) ||
	    mount("root", "/root", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") < 0 ||
	    chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return err_errno(e, errno, "leaving the initramfs");
	return 0;
}

// The guest is about as large as its containers' limits. By default a single mapping larger than all memory is refused,
// which on a host next to never happens: there a program gets its mapping, and meets its limit when it uses it.
static int always_overcommit(struct err *e)
{
	int fd AUTO_CLOSE = open("/proc/sys/vm/overcommit_memory", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		return err_errno(e, errno, "vm.overcommit_memory");
	return 0;
}

int guest_prepare(struct agent *a, struct err *e)
{
	int r;

	if (a->prepared || !a->guest)
		return 0;
	r = leave_initramfs(e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < sizeof(guest_mounts) / sizeof(*guest_mounts); i++) {
		r = mkdirs(guest_mounts[i].target);
		if (r < 0)
			return err_errno(e, -r, "mkdir %s", guest_mounts[i].target);
		if (mount(guest_mounts[i].source, guest_mounts[i].target, guest_mounts[i].type,
			  guest_mounts[i].flags, guest_mounts[i].data) < 0)
			return err_errno(e, errno, "mounting %s", guest_mounts[i].target);
	}
	r = cgroups_new(a->loop, containers_oom, a, &a->cgroups, e);
	r = r < 0 ? r : loopback_up(e);
	r = r < 0 ? r : always_overcommit(e);
	a->prepared = r == 0;
	return r;
}

void guest_release(const struct agent *a)
{
	// A remount that changes nothing drops the directory entries of this file system, and with them its inodes.
	if (a->prepared && mount(NULL, AGENT_SHARE, NULL, MS_REMOUNT, NULL) < 0)
		log_warn("releasing files of the host: %s", strerror(errno));
}

void guest_set_clock(int64_t seconds, uint32_t nanos)
{
	struct timespec ts = { .tv_sec = seconds, .tv_nsec = nanos };

	(void)clock_settime(CLOCK_REALTIME, &ts); // a clock that cannot be set stays as it is
}

_Noreturn void guest_power_off(void)
{
	sync();
	(void)reboot(RB_POWER_OFF); // returns only on failure
	_exit(1);                   // PID 1 gone: the kernel panics, which ends the machine too
}
