// SPDX-License-Identifier: Apache-2.0
// bulkhead-vmm: one machine in a process of its own. Everything it uses comes as descriptors by number.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "runtime/vmm_control.h"
#include "vmm/vmm.h"

static const char help_text[] =
	"Usage: bulkhead-vmm --kernel FILE [options]\n"
	"\n"
	"Boots a Linux kernel (an uncompressed ELF vmlinux) in a virtual machine. bulkhead starts it for each pod; by hand it\n"
	"takes file names too.\n"
	"\n"
	"  --hypervisor H       auto (default), mshv, soft\n"
	"  --memory BYTES       guest RAM; suffixes K, M, G (default 128M)\n"
	"  --vcpus N            processors, 1 to 8 (default 1)\n"
	"  --kernel FILE        or --kernel-fd N\n"
	"  --initrd FILE        or --initrd-fd N: initramfs\n"
	"  --cmdline TEXT       kernel command line\n"
	"  --bare-metal         the kernel is a test guest (multiboot or PVH); a write of N to port 0xf4 exits with 2N + 1\n"
	"  --console-fd N       guest log (virtio-console, hvc0); default standard output when run by hand\n"
	"  --serial-fd N        16550 output, for earlyprintk=serial; default standard output when run by hand\n"
	"  --vsock-cid N --vsock-listen-fd N --vsock-dir-fd N\n"
	"  --fs-fd N --fs-tag T vhost-user socket of bulkhead-fs\n"
	"  --control-fd N       the supervisor's socket\n"
	"  --name ID            shown in the log\n"
	"  --counters           print counters on standard error at the end\n"
	"  --debug\n"
	"\n"
	"Example: bulkhead-vmm --kernel vmlinux --cmdline \"console=hvc0 panic=-1\"\n";

struct app {
	struct loop *loop;
	struct vmm *vmm;
	int control_fd;
	bool counters;
	enum vmm_end end;
};

static int parse_number(const char *name, const char *text, uint64_t max, bool suffix,
			uint64_t *ret, struct err *e)
{
	char *end;
	unsigned long long v;
	unsigned shift = 0;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (suffix && *end) {
		shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
		end += shift != 0;
	}
	if (errno || end == text || *end || *text == '-' || v > max >> shift)
		return err_set(e, EINVAL, "--%s %s: expected a number up to %llu", name, text,
			       (unsigned long long)max);
	*ret = (uint64_t)v << shift;
	return 0;
}

static int parse_hypervisor(const char *text, enum vmm_hypervisor *ret, struct err *e)
{
	static const char *const names[] = { "auto", "mshv", "kvm", "soft" };

	for (unsigned i = 0; i < 4; i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum vmm_hypervisor)i;
			return 0;
		}
	return err_set(e, EINVAL, "--hypervisor %s: expected auto, mshv, kvm or soft", text);
}

enum {
	OPT_HYPERVISOR = 256,
	OPT_MEMORY,
	OPT_VCPUS,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_KERNEL_FD,
	OPT_INITRD_FD,
	OPT_CMDLINE,
	OPT_BARE_METAL,
	OPT_CONSOLE_FD,
	OPT_SERIAL_FD,
	OPT_CID,
	OPT_LISTEN_FD,
	OPT_DIR_FD,
	OPT_FS_FD,
	OPT_FS_TAG,
	OPT_CONTROL_FD,
	OPT_NAME,
	OPT_COUNTERS,
	OPT_DEBUG,
	OPT_HELP
};
static const struct option options[] = {
	{ "hypervisor", 1, NULL, OPT_HYPERVISOR },
	{ "memory", 1, NULL, OPT_MEMORY },
	{ "vcpus", 1, NULL, OPT_VCPUS },
	{ "kernel", 1, NULL, OPT_KERNEL },
	{ "initrd", 1, NULL, OPT_INITRD },
	{ "kernel-fd", 1, NULL, OPT_KERNEL_FD },
	{ "initrd-fd", 1, NULL, OPT_INITRD_FD },
	{ "cmdline", 1, NULL, OPT_CMDLINE },
	{ "bare-metal", 0, NULL, OPT_BARE_METAL },
	{ "console-fd", 1, NULL, OPT_CONSOLE_FD },
	{ "serial-fd", 1, NULL, OPT_SERIAL_FD },
	{ "vsock-cid", 1, NULL, OPT_CID },
	{ "vsock-listen-fd", 1, NULL, OPT_LISTEN_FD },
	{ "vsock-dir-fd", 1, NULL, OPT_DIR_FD },
	{ "fs-fd", 1, NULL, OPT_FS_FD },
	{ "fs-tag", 1, NULL, OPT_FS_TAG },
	{ "control-fd", 1, NULL, OPT_CONTROL_FD },
	{ "name", 1, NULL, OPT_NAME },
	{ "counters", 0, NULL, OPT_COUNTERS },
	{ "debug", 0, NULL, OPT_DEBUG },
	{ "help", 0, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int *fd_option(struct vmm_config *cfg, struct app *app, int opt)
{
	switch (opt) {
	case OPT_KERNEL_FD:
		return &cfg->kernel_fd;
	case OPT_INITRD_FD:
		return &cfg->initrd_fd;
	case OPT_CONSOLE_FD:
		return &cfg->console_fd;
	case OPT_SERIAL_FD:
		return &cfg->serial_fd;
	case OPT_LISTEN_FD:
		return &cfg->vsock_listen_fd;
	case OPT_DIR_FD:
		return &cfg->vsock_dir_fd;
	case OPT_FS_FD:
		return &cfg->fs_fd;
	case OPT_CONTROL_FD:
		return &app->control_fd;
	default:
		return NULL;
	}
}

static int open_file(const char *what, const char *path, int *fd, struct err *e)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return *fd < 0 ? err_errno(e, errno, "%s %s", what, path) : 0;
}

// 1: --help was asked for.
static int parse_options(int argc, char **argv, struct vmm_config *cfg, struct app *app,
			 struct err *e)
{
	const char *name = "vmm";
	bool debug = false;
	uint64_t n;
	int opt, at = 0, r = 0;

	while (r == 0 && (opt = getopt_long(argc, argv, "", options, &at)) != -1) {
		int *fd = fd_option(cfg, app, opt);

		if (fd) {
			r = parse_number(options[at].name, optarg, 1 << 20, false, &n, e);
			*fd = r == 0 ? (int)n : -1;
			continue;
		}
		switch (opt) {
		case OPT_HYPERVISOR:
			r = parse_hypervisor(optarg, &cfg->hypervisor, e);
			break;
		case OPT_MEMORY:
			r = parse_number("memory", optarg, 1ull << 44, true, &cfg->memory_bytes, e);
			cfg->memory_bytes &= ~4095ull;
			break;
		case OPT_VCPUS:
			r = parse_number("vcpus", optarg, 256, false, &n, e);
			cfg->vcpus = (unsigned)n;
			break;
		case OPT_KERNEL:
			r = open_file("kernel", optarg, &cfg->kernel_fd, e);
			break;
		case OPT_INITRD:
			r = open_file("initramfs", optarg, &cfg->initrd_fd, e);
			break;
		case OPT_CMDLINE:
			cfg->cmdline = optarg;
			break;
		case OPT_BARE_METAL:
			cfg->bare_metal = true;
			break;
		case OPT_CID:
			r = parse_number("vsock-cid", optarg, UINT32_MAX - 1, false,
					 &cfg->vsock_cid, e);
			break;
		case OPT_FS_TAG:
			cfg->fs_tag = optarg;
			break;
		case OPT_NAME:
			name = optarg;
			break;
		case OPT_COUNTERS:
			app->counters = true;
			break;
		case OPT_DEBUG:
			debug = true;
			break;
		case OPT_HELP:
			(void)fputs(help_text, stdout);
			return 1;
		default:
			return err_set(e, EINVAL, "unknown option; see bulkhead-vmm --help");
		}
	}
	if (r == 0 && optind < argc)
		return err_set(e, EINVAL, "unexpected argument %s; see bulkhead-vmm --help",
			       argv[optind]);
	if (r == 0 && cfg->kernel_fd < 0)
		return err_set(e, EINVAL, "no kernel given; see bulkhead-vmm --help");
	log_init(name, STDERR_FILENO, LOG_TEXT, debug ? LOG_DEBUG : LOG_INFO);
	return r;
}

// ---- the control socket
static void control_send(struct app *app, struct vmm_control_msg *m)
{
	if (app->control_fd < 0)
		return;
	m->now_ns = io_now_ns();
	(void)send(app->control_fd, m, sizeof(*m),
		   MSG_NOSIGNAL); // a supervisor that has gone is seen as end of stream
}

static void counters_send(struct app *app)
{
	struct vmm_control_msg m = { .type = VMM_CONTROL_COUNTERS };
	struct vmm_counters c;

	vmm_get_counters(app->vmm, &c);
	m.u.counters.instructions = c.instructions;
	m.u.counters.doorbells = c.doorbells;
	m.u.counters.interrupts = c.interrupts;
	for (unsigned i = 0; i < c.n_intercepts && i < VMM_CONTROL_REASONS; i++) {
		(void)snprintf(m.u.counters.intercepts[i].reason, VMM_CONTROL_REASON_BYTES, "%s",
			       c.intercepts[i].reason); // cut is fine
		m.u.counters.intercepts[i].count = c.intercepts[i].count;
		m.u.counters.n_intercepts = i + 1;
	}
	control_send(app, &m);
}

// They are put under the pod's quota by the supervisor, which may: this process has no right to.
static void vcpus_send(struct app *app)
{
	struct vmm_control_msg m = { .type = VMM_CONTROL_VCPUS };
	pid_t tids[VMM_VCPUS_MAX];

	_Static_assert((int)VMM_VCPUS_MAX <= (int)VMM_CONTROL_VCPUS_MAX, "vCPUs in a message");
	m.u.vcpus.n = vmm_vcpu_tids(app->vmm, tids);
	for (unsigned i = 0; i < m.u.vcpus.n; i++)
		m.u.vcpus.tids[i] = tids[i];
	control_send(app, &m);
}

static void handle_net_gone(void *arg, unsigned slot, const char *why)
{
	struct vmm_control_msg m = { .type = VMM_CONTROL_NET_GONE };

	log_error("network interface %u: %s", slot, why);
	m.u.net_answer.slot = slot;
	(void)snprintf(m.u.net_answer.text, sizeof(m.u.net_answer.text), "%s", why); // cut is fine
	control_send(arg, &m);
}

// The text of an egress policy: a plain file, so that no read waits. *ret is the caller's.
static int read_egress(int fd, char **ret, size_t *ret_len, struct err *e)
{
	char *text AUTO_FREE = NULL;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "egress policy");
	if (!S_ISREG(st.st_mode) || st.st_size > VMM_EGRESS_BYTES_MAX || lseek(fd, 0, SEEK_SET) < 0)
		return err_set(e, EINVAL, "egress policy: expected a file of at most %d bytes",
			       VMM_EGRESS_BYTES_MAX);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_errno(e, ENOMEM, "egress policy");
	r = io_read_full(fd, text, (size_t)st.st_size);
	if (r < 0)
		return err_errno(e, -r, "egress policy");
	*ret_len = (size_t)st.st_size;
	*ret = take_ptr(&text);
	return 0;
}

// With a policy that cannot be read there is no interface. fds are owned by the call.
static int plug(struct app *app, struct vmm_net *net, bool egress, unsigned *ret_slot,
		struct err *e)
{
	char *text AUTO_FREE = NULL;
	int r = 0;

	if (egress && net->n_fds) {
		r = read_egress(net->fds[--net->n_fds], &text, &net->egress_bytes, e);
		close_fd(net->fds[net->n_fds]);
		net->egress = text;
	} else if (egress) {
		r = err_set(e, EINVAL, "egress policy: no descriptor");
	}
	if (r == 0)
		return vmm_plug_net(app->vmm, net, ret_slot, e);
	for (unsigned i = 0; i < net->n_fds; i++)
		close_fd(net->fds[i]);
	return r;
}

static void handle_plug(struct app *app, const struct vmm_control_net *q, const int *fds,
			unsigned n)
{
	struct vmm_control_msg m = { .type = VMM_CONTROL_PLUGGED };
	struct vmm_net net = { .kind = q->kind == VMM_CONTROL_NET_STREAM ? VMM_NET_STREAM
									 : VMM_NET_TAP,
			       .mtu = q->mtu,
			       .offloads = q->offloads & 1,
			       .fds = fds,
			       .n_fds = n,
			       .gone = handle_net_gone,
			       .arg = app };
	struct err e = { 0 };
	unsigned slot = 0;
	int r;

	memcpy(net.mac, q->mac, sizeof(net.mac));
	r = plug(app, &net, q->egress & 1, &slot, &e);
	if (r < 0) {
		m.u.net_answer.error = -r;
		(void)snprintf(m.u.net_answer.text, sizeof(m.u.net_answer.text), "%s",
			       e.msg); // cut is fine
	}
	m.u.net_answer.slot = slot;
	control_send(app, &m);
}

static void handle_control(void *arg, uint32_t events)
{
	struct app *app = arg;
	struct vmm_control_msg m;
	int fds[IO_MAX_FDS];
	unsigned n_fds = IO_MAX_FDS;
	ssize_t n = io_recv_fds(app->control_fd, &m, sizeof(m), fds, &n_fds);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n == (ssize_t)sizeof(m) && m.type == VMM_CONTROL_PLUG_NET) {
		handle_plug(app, &m.u.net, fds, n_fds);
		return;
	}
	for (unsigned i = 0; n >= 0 && i < n_fds; i++)
		close_fd(fds[i]);     // nothing else comes with any
	if (n < (ssize_t)sizeof(m)) { // the supervisor has gone, and with it every reason to run
		app->end = VMM_END_ERROR;
		loop_stop(app->loop);
		return;
	}
	if (m.type == VMM_CONTROL_GET_COUNTERS)
		counters_send(app);
	if (m.type == VMM_CONTROL_STOP) {
		struct vmm_control_msg end = { .type = VMM_CONTROL_END,
					       .end = VMM_END_SHUTDOWN,
					       .u.text = "stopped by the supervisor" };

		app->end = VMM_END_SHUTDOWN;
		control_send(app, &end);
		loop_stop(app->loop);
	}
}

static void handle_end(void *arg, enum vmm_end end, const char *text)
{
	struct app *app = arg;
	struct vmm_control_msg m = { .type = VMM_CONTROL_END, .end = end };

	app->end = end;
	if (end != VMM_END_SHUTDOWN && end != VMM_END_EXIT)
		log_error("%s", text);
	if (app->control_fd >= 0)
		counters_send(app);
	(void)snprintf(m.u.text, sizeof(m.u.text), "%s", text); // cut is fine
	control_send(app, &m);
	loop_stop(app->loop);
}

static void print_net(const char *way, const struct vmm_net_counters *c)
{
	(void)fprintf(stderr,
		      "net %s frames %llu bytes %llu notifications %llu malformed %llu oversized "
		      "%llu lost %llu refused %llu\n",
		      way, (unsigned long long)c->frames, (unsigned long long)c->bytes,
		      (unsigned long long)c->notifications, (unsigned long long)c->malformed,
		      (unsigned long long)c->oversized, (unsigned long long)c->lost,
		      (unsigned long long)c->refused);
}

static void print_counters(struct app *app)
{
	struct vmm_counters c;

	vmm_get_counters(app->vmm, &c);
	(void)fprintf(stderr, "instructions %llu\ndoorbells %llu\ninterrupts %llu\n",
		      (unsigned long long)c.instructions, (unsigned long long)c.doorbells,
		      (unsigned long long)c.interrupts);
	print_net("out", &c.net_out);
	print_net("in", &c.net_in);
	for (unsigned i = 0; i < c.n_intercepts; i++)
		(void)fprintf(stderr, "intercepts %s %llu\n", c.intercepts[i].reason,
			      (unsigned long long)c.intercepts[i].count);
}

static int run(struct vmm_config *cfg, struct app *app, struct err *e)
{
	struct vmm_control_msg m = { .type = VMM_CONTROL_STARTED };
	int r = loop_new(&app->loop, e);

	r = r < 0 ? r : vmm_new(cfg, app->loop, &app->vmm, e);
	if (r == 0 && app->control_fd >= 0)
		r = loop_add_fd(app->loop, "control", app->control_fd, EPOLLIN, handle_control, app,
				NULL, e);
	if (r < 0)
		return r;
	// Nothing is opened from here on.
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_errno(e, errno, "prctl");
	(void)snprintf(m.u.text, sizeof(m.u.text), "%s", vmm_hypervisor_name(app->vmm)); // fits
	control_send(app, &m);
	r = vmm_start(app->vmm, handle_end, app, e);
	if (r < 0)
		return r;
	vcpus_send(app);
	return loop_run(app->loop, e);
}

int main(int argc, char **argv)
{
	struct vmm_config cfg = { .memory_bytes = 128 << 20,
				  .vcpus = 1,
				  .kernel_fd = -1,
				  .initrd_fd = -1,
				  .cmdline = "console=hvc0",
				  .console_fd = -1,
				  .serial_fd = -1,
				  .vsock_cid = 3,
				  .vsock_listen_fd = -1,
				  .vsock_dir_fd = -1,
				  .fs_fd = -1,
				  .fs_tag = "share" };
	struct app app = { .control_fd = -1 };
	struct err e = { 0 };
	int r;

	(void)signal(SIGPIPE, SIG_IGN); // writes say it
	r = parse_options(argc, argv, &cfg, &app, &e);
	if (r > 0)
		return 0;
	if (r == 0 && app.control_fd < 0) { // by hand
		cfg.console_fd = cfg.console_fd < 0 ? STDOUT_FILENO : cfg.console_fd;
		cfg.serial_fd = cfg.serial_fd < 0 ? STDOUT_FILENO : cfg.serial_fd;
	}
	r = r < 0 ? r : run(&cfg, &app, &e);
	if (r < 0) {
		struct vmm_control_msg m = { .type = VMM_CONTROL_END, .end = VMM_END_ERROR };

		(void)snprintf(m.u.text, sizeof(m.u.text), "%s", e.msg); // cut is fine
		control_send(&app, &m);
		log_error("%s", e.msg);
		vmm_free(app.vmm);
		loop_free(app.loop);
		return 1;
	}
	if (app.counters)
		print_counters(&app);
	if (app.end == VMM_END_EXIT)
		r = (int)vmm_exit_code(app.vmm);
	else
		r = app.end != VMM_END_SHUTDOWN;
	vmm_free(app.vmm);
	loop_free(app.loop);
	return r;
}
