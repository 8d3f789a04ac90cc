// SPDX-License-Identifier: Apache-2.0
// Inside the virtio-fs server: the inode table, open files, credentials, and a request while it is being answered.
#ifndef VMM_FS_FS_PRIV_H
#define VMM_FS_FS_PRIV_H

#include <linux/capability.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/log.h"
#include "vmm/fs/fs.h"

enum {
	FS_NAME_MAX = 255, // NAME_MAX without the NUL
	FS_REQUEST_MAX =
		128 << 10,        // bytes of a request that is not a WRITE; the largest is SETXATTR
	FS_REPLY_MAX = 128 << 10, // bytes of a reply that is not READ's
	FS_XATTR_MAX = 64 << 10,  // the kernel's XATTR_SIZE_MAX and XATTR_LIST_MAX
	FS_COPY_MAX = 64 << 20,   // bytes of one COPY_FILE_RANGE: the loop must come back soon
	FS_FDS_RESERVE = 64,      // descriptors of RLIMIT_NOFILE left to the rest of the process
};

#define FS_NONE UINT32_MAX // no index

// ---- inodes: places in the tree the guest knows. inode.c
//
// A place is remembered as (parent, name) and the identity of what was found there (device, inode number, mount). Its
// O_PATH descriptor is opened when it is first needed, checked against that identity, and closed when others need the
// room; a guest may thus know far more files than a process may have open. A file that loses its name while the guest
// knows it keeps its descriptor (pinned).
struct fs_inode {
	uint64_t dev, ino, mnt;
	uint64_t nlookup; /* guest */ // references the guest was given and has not returned
	char *name;                   // below parent; NULL for the root
	uint32_t index, gen;
	uint32_t parent;             // index; the root is its own
	uint32_t children;           // inodes whose parent this is
	uint32_t hash_next;          // also links free slots
	uint32_t lru_prev, lru_next; // if fd >= 0 and not pinned
	int fd;                      // O_PATH, or -1
	uint16_t type;               // S_IFMT bits
	bool used, pinned;
	bool nameless; // lost its name and could not be pinned: no longer found by identity
	bool mountpoint;
};

enum { FS_CHUNK_INODES = 1024 };

struct fs_inodes {
	struct fs_inode **chunks;
	uint32_t nchunks, count; // count: slots in use
	uint32_t free;           // first free slot
	uint32_t *buckets;
	uint32_t nbuckets;           // power of two
	uint32_t lru_head, lru_tail; // most, least recently used
	unsigned nfds, npinned;      // descriptors held, of which not in the LRU list
};

// ---- open files and directories. handle.c
struct fs_handle {
	uint64_t nodeid;
	uint64_t pos; // directories: where the descriptor's position is
	int fd;
	uint32_t gen, next_free;
	bool used, dir, writable;
};

struct fs_handles {
	struct fs_handle *v;
	uint32_t room, count, free;
};

// ---- credentials of the calling thread. cred.c
struct fs_cred {
	struct __user_cap_data_struct caps[2];
	uid_t uid;
	gid_t gid;
	bool can_switch, has_fsetid;
};

struct fs_server {
	struct fs_inodes inodes;
	struct fs_handles handles;
	struct fs_cred cred;
	struct fs_options opt;
	int proc_fd, own_proc_fd; // /proc/self/fd
	unsigned fds_max;
	bool ready;                 // INIT seen
	struct log_limit bad_limit; // for lines a guest can cause
	uint64_t requests, errors;
	uint64_t *request; // FS_REQUEST_MAX: the private copy
	uint64_t *reply;   // FS_REPLY_MAX
	uint64_t *scratch; // FS_REPLY_MAX: directory entries of the host, attribute values
	struct iovec data[FS_REQUEST_SEGMENTS_MAX]; // file data of READ or WRITE: guest memory
};

// A request being answered. Everything the guest said has been copied, except file data.
struct fs_req {
	struct fs_server *s;
	struct fuse_in_header hdr;   /* guest */
	const char *arg; /* guest */ // what follows the header and is not yet taken
	size_t arg_len;
	const struct iovec *in, *out;
	unsigned nin, nout;
	size_t data_off, data_len; // WRITE: where file data lies in `in`
	size_t room;               // bytes of out after the reply's header
	size_t reply_len;          // bytes of the reply after its header
};

typedef int fs_op_fn(struct fs_req *r); // 0 or -errno

// ---- server.c
// The next bytes of the request as a struct, or NULL (the request is too short).
const void *fs_req_arg(struct fs_req *r, size_t len);
// The next string: one name of a directory (not "", ".", "..", nothing with '/'). 0 or -errno.
int fs_req_name(struct fs_req *r, const char **ret_name);
// The next string, any text of less than max bytes.
int fs_req_string(struct fs_req *r, size_t max, const char **ret_text);
// The reply after its header. 0, or -EINVAL if the guest left no room for it.
int fs_req_reply(struct fs_req *r, const void *data, size_t len);

// ---- wire.c: scattered buffers
size_t fs_iov_len(const struct iovec *iov, unsigned n);
size_t fs_iov_read(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len);
size_t fs_iov_write(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len);
// The part [off, off+len) of iov as vectors of its own; returns how many (ret has FS_REQUEST_SEGMENTS_MAX).
unsigned fs_iov_part(const struct iovec *iov, unsigned n, size_t off, size_t len,
		     struct iovec *ret);

// ---- inode.c
int fs_inodes_init(struct fs_server *s, int root_fd, struct err *e);
void fs_inodes_done(struct fs_server *s);
void fs_inodes_reset(struct fs_server *s); // the guest forgot everything
// NULL: the guest never had this id, or has given it back.
struct fs_inode *fs_inode_get(struct fs_server *s, uint64_t nodeid);
uint64_t fs_inode_id(const struct fs_inode *i);
// The inode's O_PATH descriptor (borrowed, valid until two more calls), or -errno; -ESTALE: something else is there.
int fs_inode_fd(struct fs_server *s, struct fs_inode *i);
// Finds (or adds) what stx describes at parent/name, and gives the guest one more reference to it. 0 or -errno.
int fs_inode_add(struct fs_server *s, struct fs_inode *parent, const char *name,
		 const struct statx *stx, struct fs_inode **ret_inode);
void fs_inode_forget(struct fs_server *s, uint64_t nodeid, uint64_t n);
// parent/name is about to lose its name: keeps hold of the inode if the guest knows it.
void fs_inode_pin_name(struct fs_server *s, struct fs_inode *parent, const char *name);
// A rename put something at parent/name: the inode, if known, is found there from now on.
void fs_inode_moved(struct fs_server *s, struct fs_inode *parent, const char *name);
// Closes cached descriptors until one more may be opened. 0 or -ENFILE.
int fs_fd_make_room(struct fs_server *s);
// How many descriptors may be held by handles and pinned inodes: some must stay free to be moved about.
unsigned fs_fds_held_max(const struct fs_server *s);

// ---- handle.c
// Takes fd over (also on failure). 0 or -errno.
int fs_handle_add(struct fs_server *s, int fd, uint64_t nodeid, bool dir, bool writable,
		  uint64_t *ret_fh);
struct fs_handle *fs_handle_get(struct fs_server *s, uint64_t fh, uint64_t nodeid, bool dir);
void fs_handle_close(struct fs_server *s, struct fs_handle *h);
void fs_handles_reset(struct fs_server *s);
// Opens what the O_PATH descriptor of i leads to: regular files only. Returns an fd the caller owns, or -errno.
int fs_reopen(struct fs_server *s, struct fs_inode *i, int flags);
// "123" for the use with proc_fd.
struct fs_fd_name {
	char text[12];
};
struct fs_fd_name fs_fd_name(int fd);

// ---- cred.c
void fs_cred_init(struct fs_cred *c);
// File system ids of this thread become the guest's; -EINVAL for ids that are none. Pair with leave if 0 is returned.
int fs_cred_enter(struct fs_cred *c, uint32_t uid, uint32_t gid);
void fs_cred_leave(struct fs_cred *c);
// Without CAP_FSETID the kernel takes the set-id bits off a file that is written to. Pair with restore.
void fs_cred_drop_fsetid(struct fs_cred *c);
void fs_cred_restore(struct fs_cred *c);

// ---- attr.c
int fs_statx(int dirfd, const char *name, struct statx *ret); // name "": dirfd itself
struct timespec fs_cache_time(const struct fs_server *s);     // of attributes
void fs_attr_fill(const struct fs_inode *i, const struct statx *stx, struct fuse_attr *ret);
// Looks parent/name up and fills an entry; gives the guest one reference. 0 or -errno.
int fs_entry_lookup(struct fs_server *s, struct fs_inode *parent, const char *name,
		    struct fuse_entry_out *ret, struct fs_inode **ret_inode);
int fs_reply_entry(struct fs_req *r, struct fs_inode *parent, const char *name);

// ---- operations: ops_meta.c, ops_tree.c, ops_file.c, ops_dir.c, ops_xattr.c
fs_op_fn fs_op_lookup, fs_op_forget, fs_op_batch_forget, fs_op_getattr, fs_op_setattr, fs_op_statx,
	fs_op_readlink, fs_op_statfs, fs_op_access;
fs_op_fn fs_op_symlink, fs_op_mknod, fs_op_mkdir, fs_op_unlink, fs_op_rmdir, fs_op_rename,
	fs_op_rename2, fs_op_link, fs_op_create;
fs_op_fn fs_op_open, fs_op_read, fs_op_write, fs_op_release, fs_op_fsync, fs_op_fallocate,
	fs_op_lseek, fs_op_copy_file_range, fs_op_syncfs;
fs_op_fn fs_op_opendir, fs_op_readdir, fs_op_readdirplus, fs_op_releasedir, fs_op_fsyncdir;
fs_op_fn fs_op_setxattr, fs_op_getxattr, fs_op_listxattr, fs_op_removexattr;

// OPEN and CREATE: which of the guest's flags reach the host. -errno if they make no sense.
int fs_open_flags(const struct fs_server *s, uint32_t flags);
uint32_t fs_open_reply_flags(const struct fs_server *s);

#endif
