// SPDX-License-Identifier: Apache-2.0
// The FUSE protocol's frame: takes a request apart, checks it, finds its operation in a table, and writes the reply.
#include "vmm/fs/fs_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/own.h"

enum {
	OP_NO_REPLY = 1, // not even an error
	OP_MODIFIES = 2, // EROFS on a read-only share
	OP_EARLY = 4,    // allowed before INIT
	OP_DATA = 8,     // file data follows the arguments and stays in guest memory
};

enum {
	FS_MINOR = 38,       // of protocol 7: what this server speaks
	FS_MINOR_MIN = 31,   // Linux 5.4, the first with virtio-fs
	FS_BACKGROUND = 128, // requests the guest may have under way for readahead and the like
};

#define FS_OP_STATX 52 // since protocol 7.39; older linux/fuse.h do not name it

struct fs_op {
	const char *name;
	fs_op_fn *fn;
	unsigned flags;
};

static int op_init(struct fs_req *r);
static int op_destroy(struct fs_req *r);
static int op_ignore(struct fs_req *r);

static const struct fs_op ops[] = {
	[FUSE_LOOKUP] = { "LOOKUP", fs_op_lookup, 0 },
	[FUSE_FORGET] = { "FORGET", fs_op_forget, OP_NO_REPLY },
	[FUSE_GETATTR] = { "GETATTR", fs_op_getattr, 0 },
	[FUSE_SETATTR] = { "SETATTR", fs_op_setattr, OP_MODIFIES },
	[FUSE_READLINK] = { "READLINK", fs_op_readlink, 0 },
	[FUSE_SYMLINK] = { "SYMLINK", fs_op_symlink, OP_MODIFIES },
	[FUSE_MKNOD] = { "MKNOD", fs_op_mknod, OP_MODIFIES },
	[FUSE_MKDIR] = { "MKDIR", fs_op_mkdir, OP_MODIFIES },
	[FUSE_UNLINK] = { "UNLINK", fs_op_unlink, OP_MODIFIES },
	[FUSE_RMDIR] = { "RMDIR", fs_op_rmdir, OP_MODIFIES },
	[FUSE_RENAME] = { "RENAME", fs_op_rename, OP_MODIFIES },
	[FUSE_LINK] = { "LINK", fs_op_link, OP_MODIFIES },
	[FUSE_OPEN] = { "OPEN", fs_op_open, 0 },
	[FUSE_READ] = { "READ", fs_op_read, 0 },
	[FUSE_WRITE] = { "WRITE", fs_op_write, OP_MODIFIES | OP_DATA },
	[FUSE_STATFS] = { "STATFS", fs_op_statfs, 0 },
	[FUSE_RELEASE] = { "RELEASE", fs_op_release, 0 },
	[FUSE_FSYNC] = { "FSYNC", fs_op_fsync, 0 },
	[FUSE_SETXATTR] = { "SETXATTR", fs_op_setxattr, OP_MODIFIES },
	[FUSE_GETXATTR] = { "GETXATTR", fs_op_getxattr, 0 },
	[FUSE_LISTXATTR] = { "LISTXATTR", fs_op_listxattr, 0 },
	[FUSE_REMOVEXATTR] = { "REMOVEXATTR", fs_op_removexattr, OP_MODIFIES },
	// FLUSH: "not implemented" is remembered by the guest, which then saves a round trip at each close. A local file
	// system has nothing to say at close that write and fsync have not said.
	[FUSE_INIT] = { "INIT", op_init, OP_EARLY },
	[FUSE_OPENDIR] = { "OPENDIR", fs_op_opendir, 0 },
	[FUSE_READDIR] = { "READDIR", fs_op_readdir, 0 },
	[FUSE_RELEASEDIR] = { "RELEASEDIR", fs_op_releasedir, 0 },
	[FUSE_FSYNCDIR] = { "FSYNCDIR", fs_op_fsyncdir, 0 },
	[FUSE_ACCESS] = { "ACCESS", fs_op_access, 0 },
	[FUSE_CREATE] = { "CREATE", fs_op_create, OP_MODIFIES },
	[FUSE_INTERRUPT] = { "INTERRUPT", op_ignore, OP_NO_REPLY },
	[FUSE_DESTROY] = { "DESTROY", op_destroy, 0 },
	[FUSE_BATCH_FORGET] = { "BATCH_FORGET", fs_op_batch_forget, OP_NO_REPLY },
	[FUSE_FALLOCATE] = { "FALLOCATE", fs_op_fallocate, OP_MODIFIES },
	[FUSE_READDIRPLUS] = { "READDIRPLUS", fs_op_readdirplus, 0 },
	[FUSE_RENAME2] = { "RENAME2", fs_op_rename2, OP_MODIFIES },
	[FUSE_LSEEK] = { "LSEEK", fs_op_lseek, 0 },
	[FUSE_COPY_FILE_RANGE] = { "COPY_FILE_RANGE", fs_op_copy_file_range, OP_MODIFIES },
	[FUSE_SYNCFS] = { "SYNCFS", fs_op_syncfs, 0 },
	[FS_OP_STATX] = { "STATX", fs_op_statx, 0 },
};

// ---- the request's parts

const void *fs_req_arg(struct fs_req *r, size_t len)
{
	const void *at = r->arg;

	if (r->arg_len < len)
		return NULL;
	r->arg += len;
	r->arg_len -= len;
	return at;
}

int fs_req_string(struct fs_req *r, size_t max, const char **ret_text)
{
	const char *at = r->arg;
	const char *end = memchr(at, '\0', r->arg_len);

	if (!end)
		return -EINVAL; // unterminated
	if ((size_t)(end - at) >= max)
		return -ENAMETOOLONG;
	(void)fs_req_arg(r, (size_t)(end - at) + 1); // it is there
	*ret_text = at;
	return 0;
}

int fs_req_name(struct fs_req *r, const char **ret_name)
{
	const char *name;
	int err = fs_req_string(r, FS_NAME_MAX + 1, &name);

	if (err < 0)
		return err;
	if (!name[0] || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	*ret_name = name;
	return 0;
}

int fs_req_reply(struct fs_req *r, const void *data, size_t len)
{
	if (len > r->room)
		return -EINVAL;
	r->reply_len = fs_iov_write(r->out, r->nout, sizeof(struct fuse_out_header), data, len);
	return 0;
}

// ---- the session

static void session_reset(struct fs_server *s)
{
	fs_handles_reset(s);
	fs_inodes_reset(s);
	s->ready = false;
}

static uint32_t init_flags(const struct fs_server *s, uint32_t offered)
{
	uint32_t want = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
			FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
			FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS |
			FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2;

	// Locks stay in the guest: the share is its own. POSIX ACLs are not offered, nor stored (ops_xattr.c).
	// HANDLE_KILLPRIV_V2 saves a GETXATTR of security.capability before each write.
	// Writes go through, not back: a container's exit or a host's look at a volume must not miss data.
	if (s->opt.cache != FS_CACHE_ALWAYS)
		want |= FUSE_AUTO_INVAL_DATA;
	return want & offered;
}

static int op_init(struct fs_req *r)
{
	enum { INIT_IN_MIN = 16 }; // major to flags: the rest came later
	const struct fuse_init_in *in = fs_req_arg(r, INIT_IN_MIN);
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = FS_MINOR };

	if (!in)
		return -EINVAL;
	session_reset(
		r->s); // a guest that starts again (kexec, driver reload) knows nothing of before
	if (in->major > FUSE_KERNEL_VERSION)
		return fs_req_reply(r, &out, sizeof(out)); // it comes back with ours
	if (in->major < FUSE_KERNEL_VERSION || in->minor < FS_MINOR_MIN)
		return -EPROTO;
	if (in->minor < FS_MINOR)
		out.minor = in->minor;
	out.max_readahead = in->max_readahead;
	out.flags = init_flags(r->s, in->flags);
	out.max_background = FS_BACKGROUND;
	out.congestion_threshold = FS_BACKGROUND * 3 / 4;
	out.max_write = FS_WRITE_MAX;
	out.max_pages = FS_WRITE_MAX / 4096;
	out.time_gran = 1;
	r->s->ready = true;
	return fs_req_reply(r, &out, sizeof(out));
}

static int op_destroy(struct fs_req *r)
{
	session_reset(r->s);
	return 0;
}

static int op_ignore(struct fs_req *r)
{
	(void)r; // every request is finished before the next is read: there is nothing to interrupt
	return 0;
}

// Copies the request (but not a WRITE's data) out of guest memory and says what it is. 0 or -errno.
static int request_take(struct fs_req *r, const struct fs_op **ret_op)
{
	size_t have = fs_iov_len(r->in, r->nin), copy;
	const struct fs_op *op;

	if (fs_iov_read(r->in, r->nin, 0, &r->hdr, sizeof(r->hdr)) < sizeof(r->hdr))
		return -EIO;
	if (r->hdr.opcode >= sizeof(ops) / sizeof(ops[0]) || !ops[r->hdr.opcode].fn)
		return -ENOSYS;
	op = &ops[r->hdr.opcode];
	*ret_op = op;
	if (r->hdr.len < sizeof(r->hdr) || r->hdr.len > have)
		return -EIO;
	copy = r->hdr.len - sizeof(r->hdr);
	if (op->flags & OP_DATA) {
		if (copy < sizeof(struct fuse_write_in))
			return -EINVAL;
		r->data_off = sizeof(r->hdr) + sizeof(struct fuse_write_in);
		r->data_len = r->hdr.len - r->data_off;
		copy = sizeof(struct fuse_write_in);
	}
	if (copy > FS_REQUEST_MAX)
		return -EINVAL;
	r->arg_len = fs_iov_read(r->in, r->nin, sizeof(r->hdr), r->s->request, copy);
	r->arg = (const char *)r->s->request;
	return 0;
}

size_t fs_server_handle(struct fs_server *s, const struct iovec *in, unsigned nin,
			const struct iovec *out, unsigned nout)
{
	struct fs_req r = { .s = s, .in = in, .nin = nin, .out = out, .nout = nout };
	struct fuse_out_header reply = { 0 };
	const struct fs_op *op = NULL;
	size_t room = fs_iov_len(out, nout);
	int err;

	s->requests++;
	if (nin > FS_REQUEST_SEGMENTS_MAX || nout > FS_REQUEST_SEGMENTS_MAX)
		return 0;
	r.room = room > sizeof(reply) ? room - sizeof(reply) : 0;
	err = request_take(&r, &op);
	if (err == 0 && !s->ready && !(op->flags & OP_EARLY))
		err = -EIO;
	if (err == 0 && s->opt.readonly && (op->flags & OP_MODIFIES))
		err = -EROFS;
	if (err == 0)
		err = op->fn(&r);
	if (err < 0)
		s->errors++;
	if (log_enabled(LOG_DEBUG))
		log_debug("fuse %s (%u) node %llx: %d", op ? op->name : "?", r.hdr.opcode,
			  (unsigned long long)r.hdr.nodeid, err);
	if ((op && (op->flags & OP_NO_REPLY)) || room < sizeof(reply))
		return 0;
	reply.len = (uint32_t)(sizeof(reply) + (err < 0 ? 0 : r.reply_len));
	reply.error = err < 0 ? err : 0;
	reply.unique = r.hdr.unique;
	(void)fs_iov_write(out, nout, 0, &reply, sizeof(reply)); // there is room
	return reply.len;
}

// ---- life

static unsigned fds_of_process(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur <= FS_FDS_RESERVE)
		return 0;
	if (lim.rlim_cur - FS_FDS_RESERVE > FS_INODES_MAX)
		return FS_INODES_MAX;
	return (unsigned)(lim.rlim_cur - FS_FDS_RESERVE);
}

OWN_DEFINE(struct fs_server *, fs_server_free)

int fs_server_new(int share_fd, const struct fs_options *opt, struct fs_server **ret_server,
		  struct err *e)
{
	struct fs_server *s AUTO(fs_server_free) = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_errno(e, ENOMEM, "file server");
	s->own_proc_fd = -1;
	s->handles.free = FS_NONE;
	s->opt = *opt;
	s->fds_max = opt->fds_max ? opt->fds_max : fds_of_process();
	if (s->fds_max < FS_FDS_MIN)
		return err_set(e, EMFILE,
			       "the limit of open files leaves %u for the file server: it needs %d",
			       s->fds_max, FS_FDS_MIN);
	s->request = malloc(FS_REQUEST_MAX);
	s->reply = malloc(FS_REPLY_MAX);
	s->scratch = malloc(FS_REPLY_MAX);
	if (!s->request || !s->reply || !s->scratch)
		return err_errno(e, ENOMEM, "file server");
	s->proc_fd = opt->proc_fd;
	if (s->proc_fd < 0)
		s->proc_fd = s->own_proc_fd =
			open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->proc_fd < 0)
		return err_errno(e, errno, "/proc/self/fd");
	fs_cred_init(&s->cred);
	r = fs_inodes_init(s, share_fd, e);
	if (r < 0)
		return r;
	*ret_server = take_ptr(&s);
	return 0;
}

void fs_server_free(struct fs_server *s)
{
	if (!s)
		return;
	fs_handles_reset(s);
	free(s->handles.v);
	fs_inodes_done(s);
	close_fd(s->own_proc_fd);
	free(s->request);
	free(s->reply);
	free(s->scratch);
	free(s);
}

void fs_server_get_counters(const struct fs_server *s, struct fs_counters *ret)
{
	*ret = (struct fs_counters){
		.requests = s->requests,
		.errors = s->errors,
		.inodes = s->inodes.count,
		.handles = s->handles.count,
		.fds = s->inodes.nfds,
	};
}
