// SPDX-License-Identifier: Apache-2.0
#include "runtime/create.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/bundle.h"
#include "runtime/client.h"
#include "runtime/destroy.h"
#include "runtime/hooks.h"
#include "runtime/host_config.h"
#include "runtime/placement.h"
#include "runtime/store.h"
#include "runtime/supervisor.h"
#include "runtime/tty.h"

enum {
	SUPERVISOR_READY_MS = 30000,
	SUPERVISOR_END_MS = 10000,
};

#define BUS_ADDRESS \
	"DBUS_SYSTEM_BUS_ADDRESS" // all that the supervisor takes over from our environment

struct create {
	const char *root, *id;
	char *bundle, *rootfs;
	struct placement place;
	struct oci_config *config;
	struct machine machine;
	int lock_fd, channel_fd, pidfd;
	struct store_process supervisor;
	struct client *client;
	const struct hooks_home *home;
	pid_t proxy;
	bool hooked;                 // a create that fails from here on runs the poststop hooks
	bool taken, made, committed; // made: the supervisor has heard of it
};

OWN_DEFINE(struct create *, create_end)
OWN_DEFINE(struct host_config *, host_config_free)

struct client *create_client(struct create *c)
{
	return c->client;
}

bool create_terminal(const struct create *c)
{
	return c->config->process.terminal;
}

const char *create_pod(const struct create *c)
{
	return c->place.pod;
}

const struct placement *create_placement(const struct create *c)
{
	return &c->place;
}

const char *create_hypervisor(const struct create *c)
{
	return c->machine.hypervisor;
}

// Before anything is started.
static int check_terminal(const struct create *c, const struct create_request *req, struct err *e)
{
	bool terminal = c->config->process.terminal;

	if (req->terminal_on_stdio)
		return terminal ? 0 : err_set(e, EINVAL, "process.terminal is not set");
	return tty_check(terminal, req->detach, req->console_socket, e);
}

static int check_request(struct create *c, const struct create_request *req, struct err *e)
{
	struct host_config *host AUTO(host_config_free) = NULL;
	struct stat st;
	int r = store_check_id(req->id, e);

	if (r < 0)
		return r;
	c->bundle = realpath(req->bundle ? req->bundle : ".", NULL);
	if (!c->bundle || stat(c->bundle, &st) < 0)
		return err_errno(e, errno, "chdir %s", req->bundle ? req->bundle : ".");
	if (!S_ISDIR(st.st_mode))
		return err_errno(e, ENOTDIR, "chdir %s", req->bundle);
	if ((r = bundle_read(c->bundle, &c->config, &c->rootfs, e)) < 0 ||
	    (r = check_terminal(c, req, e)) < 0 ||
	    (r = host_config_read(req->host_config, &host, e)) < 0)
		return r;
	return machine_choose(&req->machine, c->config, host, &c->machine, e);
}

// Waits for the supervisor's first word.
static int await_ready(struct create *c, struct err *e)
{
	struct pollfd pfd = { .fd = c->channel_fd, .events = POLLIN };
	char text[ERR_MSG_BYTES + 1];
	ssize_t n;
	int r;

	do
		r = poll(&pfd, 1, SUPERVISOR_READY_MS);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return err_set(e, ETIMEDOUT, "the pod's supervisor did not start in time");
	n = r < 0 ? -1 : recv(c->channel_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return err_set(e, EIO, "the pod's supervisor ended without a word");
	text[n] = '\0';
	return text[0] == 'R' ? 0 : err_set(e, EIO, "%s", text + 1);
}

static int start_supervisor(struct create *c, const struct create_request *req, struct err *e)
{
	const struct machine *m = &c->machine;
	char memory[32], vcpus[32], kernel[LOCATE_BYTES + 16], initrd[LOCATE_BYTES + 16], id[256],
		self[] = "/proc/self/exe";
	char root[STORE_PATH_BYTES + 16], hv[32], vmm[LOCATE_BYTES + 16],
		parameters[MACHINE_PARAMETERS_BYTES + 32];
	char name[] = "bulkhead", debug[] = "--debug", verb[] = "supervisor",
	     timings[] = "--timings", manager[40], *bundle AUTO_FREE = NULL, *argv[20];
	char bus[512], *envp[] = { NULL, NULL };
	int theirs AUTO_CLOSE = -1, pair[2], map[5], n = 0, r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, errno, "socketpair");
	c->channel_fd = pair[0];
	theirs = pair[1];
	(void)snprintf(root, sizeof(root), "--root=%s", c->root); // checked with the id's paths
	(void)snprintf(kernel, sizeof(kernel), "--kernel=%s", m->kernel); // fits
	(void)snprintf(initrd, sizeof(initrd), "--initrd=%s", m->initrd); // fits
	(void)snprintf(memory, sizeof(memory), "--memory-bytes=%llu",
		       (unsigned long long)m->memory_bytes);              // fits
	(void)snprintf(vcpus, sizeof(vcpus), "--vcpus=%u", m->vcpus);     // fits
	(void)snprintf(hv, sizeof(hv), "--hypervisor=%s", m->hypervisor); // one of four words
	(void)snprintf(vmm, sizeof(vmm), "--vmm=%s", m->vmm);             // fits
	(void)snprintf(parameters, sizeof(parameters), "--kernel-parameters=%s",
		       m->parameters);               // fits
	(void)snprintf(id, sizeof(id), "%s", c->id); // an id is at most NAME_MAX
	(void)snprintf(manager, sizeof(manager), "--cgroup-manager=%.16s",
		       req->cgroup_manager); // one of three words
	if (asprintf(&bundle, "--bundle=%s", c->bundle) < 0)
		return err_errno(e, (bundle = NULL, ENOMEM), "create");
	if (getenv(BUS_ADDRESS) &&
	    snprintf(bus, sizeof(bus), BUS_ADDRESS "=%s", getenv(BUS_ADDRESS)) < (int)sizeof(bus))
		envp[0] = bus;
	argv[n++] = name;
	argv[n++] = root;
	argv[n++] = kernel;
	argv[n++] = initrd;
	argv[n++] = hv;
	argv[n++] = vcpus;
	argv[n++] = manager;
	if (req->debug)
		argv[n++] = debug;
	argv[n++] = verb;
	argv[n++] = memory;
	argv[n++] = bundle;
	if (m->vmm[0])
		argv[n++] = vmm;
	if (m->parameters[0])
		argv[n++] = parameters;
	if (req->timings_fd >= 0)
		argv[n++] = timings;
	argv[n++] = id;
	argv[n] = NULL;
	memcpy(map, (int[]){ -1, -1, -1, theirs, req->timings_fd }, sizeof(map));
	r = io_spawn(self, argv, envp, map, req->timings_fd >= 0 ? 5 : 4, 0, &pid, &c->pidfd, e);
	if (r < 0)
		return r;
	if (store_process_read(pid, &c->supervisor) < 0)
		c->supervisor.pid = pid; // dead already: await_ready says why
	return await_ready(c, e);
}

// A pod of its own, or the one that is there.
static int find_pod(struct create *c, const struct create_request *req, struct err *e)
{
	int r;

	if (c->place.member) {
		if (c->config->has_vm)
			return err_set(
				e, EINVAL,
				"config.json: vm: the container joins a pod whose machine is there");
		c->supervisor = c->place.supervisor;
		return 0;
	}
	r = store_remove_pod(c->root, c->id, e); // what a create that died left behind
	return r < 0 ? r : start_supervisor(c, req, e);
}

int create_begin(const struct create_request *req, struct create **ret_create, struct err *e)
{
	struct create *c AUTO(create_end) = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_errno(e, ENOMEM, "create");
	c->root = req->root;
	c->id = req->id;
	c->lock_fd = c->channel_fd = c->pidfd = -1;
	c->place = (struct placement){ .join = { -1, -1, -1 } };
	r = check_request(c, req, e);
	if (r < 0)
		return r;
	c->lock_fd = store_lock(c->root, c->id, true, e);
	if (c->lock_fd < 0)
		return c->lock_fd;
	if (store_exists(c->root, c->id))
		return err_set(e, EEXIST, "container with given ID already exists");
	if (store_pod_used(c->root, c->id))
		return err_set(e, EEXIST,
			       "pod with given ID already exists, and has containers left");
	c->taken = true;
	if ((r = placement_decide(c->root, c->id, c->config, &c->place, e)) < 0 ||
	    (r = find_pod(c, req, e)) < 0 ||
	    (r = client_open(c->root, c->place.pod, &c->client, e)) < 0)
		return r;
	*ret_create = take_ptr(&c);
	return 0;
}

static struct hooks_container hooks_of(const struct create *c, pid_t proxy)
{
	return (struct hooks_container){
		.config = c->config, .id = c->id, .bundle = c->bundle, .pid = proxy, .home = c->home
	};
}

int create_hooks(struct create *c, pid_t proxy, const struct hooks_home *home, struct err *e)
{
	static const enum oci_hook_kind kinds[] = { OCI_HOOK_PRESTART, OCI_HOOK_CREATE_RUNTIME,
						    OCI_HOOK_CREATE_CONTAINER };
	struct hooks_container h;
	int r = 0;

	c->home = home;
	c->proxy = proxy;
	c->hooked = true;
	h = hooks_of(c, proxy);
	for (size_t i = 0; r == 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		r = hooks_run(&h, kinds[i], e);
	return r;
}

int create_container(struct create *c, pid_t proxy, struct err *e)
{
	struct client_create req = {
		.id = c->id,
		.bundle = c->bundle,
		.proxy = proxy,
		.shared = c->place.from,
	};

	c->made = true;
	return client_create(c->client, &req, e);
}

static int annotations_json(const struct oci_config *config, char **ret_json, struct err *e)
{
	struct json_out o;
	int r = json_out_init(&o, NULL, e);

	if (r < 0)
		return r;
	json_out_open(&o, '{');
	for (size_t i = 0; i < config->annotations.n; i++)
		json_out_kstr(&o, config->annotations.v[i].key, config->annotations.v[i].value);
	json_out_close(&o, '}');
	r = json_out_take(&o, ret_json, NULL, e);
	json_out_done(&o);
	return r;
}

int create_commit(struct create *c, pid_t proxy, const char *pid_file, struct err *e)
{
	struct store_container sc = { .supervisor = c->supervisor };
	char created[OCI_TIME_BYTES], digits[24], *annotations AUTO_FREE = NULL;
	struct timespec now;
	int r = annotations_json(c->config, &annotations, e);

	if (r < 0)
		return r;
	(void)clock_gettime(CLOCK_REALTIME, &now); // cannot fail for this clock
	oci_time_print(now.tv_sec, (uint32_t)now.tv_nsec, created);
	sc.id = unconst(c->id);
	sc.pod = c->place.pod;
	sc.bundle = c->bundle;
	sc.rootfs = c->rootfs;
	sc.created = created;
	sc.annotations = annotations;
	r = store_process_read(proxy, &sc.proxy);
	if (r < 0)
		return err_errno(e, -r, "proxy process %ld", (long)proxy);
	if (pid_file) {
		int n = snprintf(digits, sizeof(digits), "%ld", (long)proxy);

		r = io_write_file(AT_FDCWD, pid_file, digits, (size_t)n, 0644, e);
		if (r < 0)
			return r;
	}
	r = hooks_store(c->root, c->id, c->config, e);
	r = r < 0 ? r : store_container_write(c->root, &sc, e);
	if (r < 0)
		return r;
	c->committed = true;
	if (c->channel_fd >= 0)
		(void)send(c->channel_fd, "C", 1,
			   MSG_NOSIGNAL); // a supervisor that is gone makes a stopped container
	return 0;
}

// The supervisor sees the channel's end and takes the pod down; a supervisor that does not is taken down.
static void undo(struct create *c)
{
	struct pollfd pfd = { .fd = c->pidfd, .events = POLLIN };
	siginfo_t si;

	if (c->place.member && c->made)
		destroy_in_pod(c->client, c->id); // the pod goes on without it
	client_close(take_ptr(&c->client));
	close_fd(take_fd(&c->channel_fd));
	if (c->pidfd >= 0) {
		if (poll(&pfd, 1, SUPERVISOR_END_MS) <= 0)
			(void)syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL,
				      0);                            // it may have ended
		(void)waitid(P_PIDFD, (id_t)c->pidfd, &si, WEXITED); // our child
	}
	if (c->taken)
		(void)store_remove(c->root, c->id, NULL); // the error being reported is another one
	if (c->hooked) {
		struct hooks_container h = hooks_of(c, 0);

		if (c->proxy != getpid()) { // whoever has forked it reaps it
			(void)kill(c->proxy, SIGKILL);
			(void)waitid(P_PID, (id_t)c->proxy, &si, WEXITED | WNOWAIT);
		}
		hooks_run_poststop(&h);
	}
}

void create_end(struct create *c)
{
	if (!c)
		return;
	if (!c->committed)
		undo(c);
	client_close(c->client);
	close_fd(c->lock_fd);
	close_fd(c->channel_fd);
	close_fd(c->pidfd);
	if (c->config)
		oci_config_free(c->config);
	placement_done(&c->place);
	free(c->bundle);
	free(c->rootfs);
	free(c);
}
