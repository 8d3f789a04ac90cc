// SPDX-License-Identifier: Apache-2.0
// Which pod a new container goes into: one of its own, or that of a container which its annotations or the paths of its
// namespaces name.
#ifndef RUNTIME_PLACEMENT_H
#define RUNTIME_PLACEMENT_H

#include <stdbool.h>

#include "oci/oci.h"
#include "runtime/store.h"

struct err;

// The namespaces that a host process can have of its own, in the order of struct placement's descriptors.
enum { PLACEMENT_HOST_NS = 3 };

struct placement {
	bool member;                     // of a pod that is there
	char *pod;                       // owned; its id
	struct store_process supervisor; // of the pod; only of a member's
	char *from[OCI_NS_KINDS];        // owned; the container whose namespace is shared, or NULL
	// What identifies the container on the host, by its proxy: namespaces to join (-1: none) and to make (CLONE_NEW...).
	int join[PLACEMENT_HOST_NS];
	int make;
};

// Reads what is known under root; the caller holds id's lock. *ret is for placement_done also on failure. A pod that is not
// there, or has ended, is an error that names the annotation or the namespace.
int placement_decide(const char *root, const char *id, const struct oci_config *c,
		     struct placement *ret, struct err *e);
void placement_done(struct placement *p);

// For the process that stands for the container: enters the namespaces.
int placement_enter(const struct placement *p, struct err *e);

#endif
