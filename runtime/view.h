// SPDX-License-Identifier: Apache-2.0
// A container as `state` and `list` show it: what is on disk, and what its supervisor says now.
#ifndef RUNTIME_VIEW_H
#define RUNTIME_VIEW_H

#include "oci/oci.h"
#include "runtime/client.h"
#include "runtime/store.h"

struct view {
	struct store_container container;
	struct oci_state state; // points into container and tree
	struct oci_map annotations;
	char owner[64]; // user name, or number
	void *tree;     // private: owns the annotations
};

int view_read(const char *root, const char *id, struct view *ret, struct err *e);
void view_done(struct view *v);

static inline void own_view_done_at_(struct view *v)
{
	view_done(v);
}

#endif
