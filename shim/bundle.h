// SPDX-License-Identifier: Apache-2.0
// What the shim keeps in, and reads from, a bundle of containerd.
#ifndef SHIM_BUNDLE_H
#define SHIM_BUNDLE_H

struct err;

// Where `bulkhead` keeps its state for this bundle's container: what was set, or the default of the namespace. *ret is owned.
int bundle_root(const char *bundle, const char *ns, char **ret, struct err *e);
// root is that of the request's options ("": the default); kept for the delete of a shim that has died.
int bundle_set_root(const char *bundle, const char *root, const char *ns, struct err *e);
// The id of the pod that the container belongs to, by its annotations; its own id if there are none. *ret is owned.
int bundle_group(const char *bundle, const char *id, char **ret, struct err *e);

#endif
