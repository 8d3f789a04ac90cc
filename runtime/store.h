// SPDX-License-Identifier: Apache-2.0
// The state directory: ROOT/containers/ID/state.json and ROOT/pods/ID/. state.json is written last by a create and is
// what makes a container exist; a directory without it is a create under way (its lock is held) or one that died.
#ifndef RUNTIME_STORE_H
#define RUNTIME_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct oci_config;

enum { STORE_ID_MAX = 1024, STORE_PATH_BYTES = 4096 };

// Letters, digits and _+-. ; not "." or ".."; at most what a file name can hold, since an id is one.
int store_check_id(const char *id, struct err *e);

// A process that is named on disk: the start time (field 22 of /proc/PID/stat) tells it from a later one.
struct store_process {
	pid_t pid;
	uint64_t start_time;
};
int store_process_read(pid_t pid, struct store_process *ret); // -ESRCH when it is gone or a zombie
bool store_process_alive(const struct store_process *p);
// A pidfd of that very process, or -errno.
int store_process_open(const struct store_process *p);

// state.json. Strings are owned.
struct store_container {
	char *id, *pod, *bundle, *rootfs, *created;
	char *annotations; // a JSON object as text
	uid_t owner;       // of state.json; read only
	struct store_process proxy, supervisor;
};
void store_container_done(struct store_container *c);
int store_container_read(const char *root, const char *id, struct store_container *ret,
			 struct err *e);
int store_container_write(const char *root, const struct store_container *c, struct err *e);

// Takes ROOT/containers/ID's lock; the descriptor that holds it is returned. For an id that is not there: -ENOENT and
// runc's words. `create`: makes the directory; an id in use is -EEXIST, what a dead create left is taken over.
int store_lock(const char *root, const char *id, bool create, struct err *e);
bool store_exists(const char *root, const char *id); // has a state.json
int store_remove_pod(const char *root, const char *id, struct err *e);
bool store_pod_used(const char *root, const char *id); // a container of that pod has a state.json
// Removes what is known of a container, and its pod's directory with the pod's last container; the caller holds its lock.
// Missing ones are fine.
int store_forget(const char *root, const char *id, const char *pod, struct err *e);
// Removes both directories of a container that has a pod of its own. Missing ones are fine.
int store_remove(const char *root, const char *id, struct err *e);

// Ids of all containers, sorted. *ret_ids is NULL-terminated; store_ids_free.
int store_list(const char *root, char ***ret_ids, struct err *e);
void store_ids_free(char **ids);

// ROOT/containers/ID/NAME, or without a NAME the directory, into buf (STORE_PATH_BYTES); of a pod as well.
int store_container_path(const char *root, const char *id, const char *name, char *buf,
			 struct err *e);
// ROOT/pods/ID/NAME into buf (STORE_PATH_BYTES).
int store_pod_path(const char *root, const char *id, const char *name, char *buf, struct err *e);

#endif
