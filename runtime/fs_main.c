// SPDX-License-Identifier: Apache-2.0
// bulkhead-fs: serves one directory to one guest, as the vhost-user back end of its virtio-fs device. It gives up what it
// does not need, in steps, before it looks at the first byte from the guest.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sched.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "vmm/fs/fs.h"

struct fs_args {
	int socket_fd, share_fd, log_fd; // socket_fd and share_fd are owned
	const char *socket_path, *share_path, *id;
	struct fs_options opt;
	bool help;
};

struct fs_session {
	struct loop *loop;
	struct err why; // it ended; code 0: the front end has gone
};

static const char usage[] =
	"usage: bulkhead-fs (--socket-fd N | --socket PATH) (--share-fd N | --share DIR) [options]\n"
	"Serves DIR to one virtual machine as a virtio-fs device (vhost-user back end).\n"
	"  --socket-fd N    connected vhost-user socket\n"
	"  --socket PATH    listen here and serve the first that connects\n"
	"  --share-fd N     directory to serve, open\n"
	"  --share DIR      directory to serve\n"
	"  --cache MODE     what the guest may remember: auto (names and attributes for a second,\n"
	"                   file data until it changes; the default), none, always\n"
	"  --readonly       refuse all changes\n"
	"  --log-fd N       where to log (default: stderr)\n"
	"  --name ID        the pod's name, for the log\n"
	"  --help           this text\n"
	"Mounts the host makes below DIR later are seen if the mount that holds DIR is shared.\n"
	"Exits with 0 when the front end hangs up.\n";

// ---- arguments

static int parse_fd(const char *opt, const char *text, int *ret_fd, struct err *e)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < 0 || v > INT_MAX)
		return err_set(e, EINVAL, "%s: '%s' is not a descriptor number", opt, text);
	if (fcntl((int)v, F_SETFD, FD_CLOEXEC) < 0)
		return err_errno(e, errno, "%s %ld", opt, v);
	*ret_fd = (int)v;
	return 0;
}

static int parse_cache(const char *text, enum fs_cache *ret_cache, struct err *e)
{
	static const char *const name[] = {
		[FS_CACHE_AUTO] = "auto", [FS_CACHE_NONE] = "none", [FS_CACHE_ALWAYS] = "always"
	};

	for (unsigned i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		if (strcmp(text, name[i]) == 0) {
			*ret_cache = (enum fs_cache)i;
			return 0;
		}
	}
	return err_set(e, EINVAL, "--cache: '%s' is not auto, none or always", text);
}

static int parse_args(int argc, char **argv, struct fs_args *a, struct err *e)
{
	static const struct option longs[] = {
		{ "socket-fd", required_argument, NULL, 's' },
		{ "socket", required_argument, NULL, 'S' },
		{ "share-fd", required_argument, NULL, 'd' },
		{ "share", required_argument, NULL, 'D' },
		{ "cache", required_argument, NULL, 'c' },
		{ "readonly", no_argument, NULL, 'r' },
		{ "log-fd", required_argument, NULL, 'l' },
		{ "name", required_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, r = 0;

	opterr = 0; // one line, by us
	while (r == 0 && (c = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
		if (c == 's')
			r = parse_fd("--socket-fd", optarg, &a->socket_fd, e);
		else if (c == 'd')
			r = parse_fd("--share-fd", optarg, &a->share_fd, e);
		else if (c == 'l')
			r = parse_fd("--log-fd", optarg, &a->log_fd, e);
		else if (c == 'c')
			r = parse_cache(optarg, &a->opt.cache, e);
		else if (c == 'S')
			a->socket_path = optarg;
		else if (c == 'D')
			a->share_path = optarg;
		else if (c == 'n')
			a->id = optarg;
		else if (c == 'r')
			a->opt.readonly = true;
		else if (c == 'h')
			a->help = true;
		else
			r = err_set(e, EINVAL, "%s: %s", argv[optind - 1],
				    c == ':' ? "needs a value" : "unknown option");
	}
	if (r < 0 || a->help)
		return r;
	if (optind < argc)
		return err_set(e, EINVAL, "%s: unexpected argument", argv[optind]);
	if ((a->socket_fd >= 0) == (a->socket_path != NULL))
		return err_set(e, EINVAL, "give one of --socket-fd and --socket");
	if ((a->share_fd >= 0) == (a->share_path != NULL))
		return err_set(e, EINVAL, "give one of --share-fd and --share");
	return 0;
}

// Waits for one front end at path. Returns the connected socket or -errno.
static int accept_at(const char *path, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd AUTO_CLOSE = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int conn;

	if (fd < 0)
		return err_errno(e, errno, "socket");
	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, ENAMETOOLONG, "%s: longer than a socket's name can be", path);
	memcpy(sa.sun_path, path, strlen(path));
	(void)umask(0077); // only our user may connect
	if (bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0)
		return err_errno(e, errno, "listen at %s", path);
	do
		conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	while (conn < 0 && errno == EINTR);
	if (conn < 0)
		err_errno(e, errno, "accept at %s", path);
	(void)unlink(path); // it serves once
	return conn < 0 ? -e->code : conn;
}

// ---- giving up privilege, step by step

// Makes the working directory a mount's root. One that is so already is left as it is: what the host mounts below it while
// a copy is made and has no place yet would not arrive in the copy (propagation passes by detached trees).
static int mount_here(struct err *e)
{
	int tree AUTO_CLOSE = -1;
	struct statx sx;

	if (statx(AT_FDCWD, ".", 0, 0, &sx) == 0 && (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return 0;
	tree = (int)syscall(SYS_open_tree, AT_FDCWD, ".",
			    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (tree < 0)
		return err_errno(e, errno, "clone the share's mounts");
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    fchdir(tree) < 0)
		return err_errno(e, errno, "mount the share");
	return 0;
}

// The working directory is the share. Makes it the root of a mount namespace of its own, so that nothing else of the
// host has a path here; *ret_proc_fd is /proc/self/fd as a mount without a parent, which ".." does not leave.
static int confine_mounts(int share_fd, int *ret_proc_fd, struct err *e)
{
	int proc AUTO_CLOSE = -1;
	int r;

	if (fchdir(share_fd) <
	    0) // unshare takes the working directory along, but no open descriptor
		return err_errno(e, errno, "enter the share directory");
	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(e, errno, "new mount namespace");
	// A slave: what the host mounts below the share later arrives here; nothing goes back.
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_errno(e, errno, "make the mount namespace a slave");
	proc = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc/self/fd",
			    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (proc < 0)
		return err_errno(e, errno, "clone /proc/self/fd");
	r = mount_here(e);
	if (r < 0)
		return r;
	// The old root lands on top of the new one and is taken off.
	if (syscall(SYS_pivot_root, ".", ".") < 0) {
		// An initramfs as root cannot be pivoted away: cover it.
		if (errno != EINVAL ||
		    syscall(SYS_move_mount, AT_FDCWD, ".", AT_FDCWD, "/", 0) < 0 || chroot(".") < 0)
			return err_errno(e, errno, "make the share the root");
	} else if (umount2(".", MNT_DETACH) < 0) {
		return err_errno(e, errno, "leave the old root");
	}
	if (chdir("/") < 0)
		return err_errno(e, errno, "enter the share");
	*ret_proc_fd = take_fd(&proc);
	return 0;
}

static bool have_cap(cap_value_t cap)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t v = CAP_CLEAR;

	if (caps && cap_get_flag(caps, cap, CAP_EFFECTIVE, &v) < 0)
		v = CAP_CLEAR;
	if (caps)
		(void)cap_free(caps); // ours: cannot fail
	return v == CAP_SET;
}

// Keeps what serving another's files as root takes, and nothing to reach the rest of the host with.
static int drop_caps(struct err *e)
{
	static const cap_value_t keep[] = {
		CAP_CHOWN,        CAP_FOWNER, // chown, chmod, utimes of any file
		CAP_DAC_OVERRIDE,             // the guest's kernel has checked permissions
		CAP_FSETID,                   // set-id bits stay where the guest's kernel says so
		CAP_SETUID,       CAP_SETGID, // new files belong to the guest's process
		CAP_MKNOD,                    // device nodes in images
		CAP_SETFCAP,                  // file capabilities in images
	};
	cap_t caps = cap_init();
	int code = 0;

	if (!caps)
		return err_errno(e, errno, "capabilities");
	for (cap_value_t c = 0; have_cap(CAP_SETPCAP) && cap_get_bound(c) >= 0; c++) {
		bool kept = false;

		for (unsigned i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
			kept = kept || keep[i] == c;
		if (!kept && cap_drop_bound(c) < 0)
			code = errno;
	}
	for (unsigned i = 0; i < sizeof(keep) / sizeof(keep[0]); i++) {
		if (have_cap(keep[i]) &&
		    (cap_set_flag(caps, CAP_PERMITTED, 1, &keep[i], CAP_SET) < 0 ||
		     cap_set_flag(caps, CAP_EFFECTIVE, 1, &keep[i], CAP_SET) < 0))
			code = errno;
	}
	if (!code && cap_set_proc(caps) < 0)
		code = errno;
	(void)cap_free(caps); // ours: cannot fail
	return code ? err_errno(e, code, "drop capabilities") : 0;
}

// Replaces *share_fd by the root of the new mount namespace where that can be made.
static int confine(int *share_fd, int *ret_proc_fd, struct err *e)
{
	struct rlimit lim;
	int r;

	// The more descriptors, the fewer files are looked up again.
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &lim); // fewer will do
	}
	if (have_cap(CAP_SYS_ADMIN)) {
		r = confine_mounts(*share_fd, ret_proc_fd, e);
		if (r < 0)
			return r;
		close_fd(take_fd(share_fd));
		*share_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (*share_fd < 0)
			return err_errno(e, errno, "open the share");
	} else {
		log_info(
			"no CAP_SYS_ADMIN: the share is not the root of a mount namespace of its own");
	}
	r = drop_caps(e);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "no_new_privs");
	(void)umask(0); // the guest's process has applied its own
	return 0;
}

// ---- serving

static void on_end(void *arg, int code, const char *text)
{
	struct fs_session *ses = arg;

	if (code)
		(void)err_set(&ses->why, code, "%s", text); // read when the loop has ended
	loop_stop(ses->loop);
}

static void on_signal(void *arg, int signo)
{
	struct fs_session *ses = arg;

	(void)signo;
	loop_stop(ses->loop);
}

OWN_DEFINE(struct loop *, loop_free)
OWN_DEFINE(struct fs_server *, fs_server_free)
OWN_DEFINE(struct fs_backend *, fs_backend_free)

static int serve(struct fs_args *a, struct err *e)
{
	// Undone in the opposite order: the back end uses the server, its sources the loop.
	struct loop *loop AUTO(loop_free) = NULL;
	struct fs_server *server AUTO(fs_server_free) = NULL;
	struct fs_backend *backend AUTO(fs_backend_free) = NULL;
	int proc_fd AUTO_CLOSE = -1;
	struct fs_session ses = { 0 };
	int r = confine(&a->share_fd, &proc_fd, e);

	if (r < 0)
		return r;
	r = loop_new(&loop, e);
	if (r < 0)
		return r;
	ses.loop = loop;
	r = loop_add_signal(loop, "SIGTERM", SIGTERM, on_signal, &ses, NULL, e);
	if (r == 0)
		r = loop_add_signal(loop, "SIGINT", SIGINT, on_signal, &ses, NULL, e);
	if (r < 0)
		return r;
	a->opt.proc_fd = proc_fd;
	r = fs_server_new(a->share_fd, &a->opt, &server, e);
	if (r < 0)
		return r;
	r = fs_backend_new(loop, a->socket_fd, server, on_end, &ses, &backend, e);
#ifndef __SANITIZE_ADDRESS__ // which looks for leaks at the end, by ptrace
	if (r == 0)
		r = fs_seccomp(e);
#endif
	if (r == 0)
		r = loop_run(loop, e);
	if (r == 0 && ses.why.code)
		r = err_set(e, ses.why.code, "%s", ses.why.msg);
	return r;
}

int main(int argc, char **argv)
{
	struct fs_args a = { .socket_fd = -1, .share_fd = -1, .log_fd = STDERR_FILENO };
	struct err e;
	char name[128];
	int r = parse_args(argc, argv, &a, &e);

	if (a.help && r == 0)
		return fputs(usage, stdout) < 0 || fflush(stdout) < 0;
	if (r < 0) {
		fprintf(stderr, "bulkhead-fs: %s\n", e.msg);
		return 1;
	}
	(void)snprintf(name, sizeof(name), "fs%s%s", a.id ? "/" : "",
		       a.id ? a.id : ""); // cut is fine
	log_init(name, a.log_fd, LOG_TEXT, LOG_INFO);
	(void)signal(SIGPIPE, SIG_IGN); // writes say EPIPE
	(void)signal(SIGXFSZ, SIG_IGN); // and EFBIG
	if (a.share_path) {
		a.share_fd = open(a.share_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (a.share_fd < 0)
			r = err_errno(&e, errno, "share %s", a.share_path);
	}
	if (r == 0 && a.socket_path)
		r = a.socket_fd = accept_at(a.socket_path, &e);
	if (r >= 0)
		r = serve(&a, &e);
	close_fd(a.socket_fd);
	close_fd(a.share_fd);
	if (r < 0)
		log_error("%s", e.msg);
	return r < 0;
}
