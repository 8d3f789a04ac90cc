// SPDX-License-Identifier: Apache-2.0
// The socket of a pod's shim: its path by containerd's convention, and who listens there.
#ifndef SHIM_ADDRESS_H
#define SHIM_ADDRESS_H

struct err;

enum { ADDRESS_BYTES = 108 };

// dir: NULL or "" for the default. group: the pod's id. *buf is a path.
int address_of(const char *dir, const char *containerd, const char *ns, const char *group,
	       char buf[ADDRESS_BYTES], struct err *e);
int address_connect(const char *path); // -1: nobody answers there
// A listening socket; -EEXIST: a shim answers there.
int address_listen(const char *path, struct err *e);

#endif
