// SPDX-License-Identifier: Apache-2.0
// Hooks that run on the host (runtime-spec, "POSIX-platform Hooks"): prestart, createRuntime, poststart and poststop as
// this command runs itself, createContainer in the namespaces of the process that stands for the container. The one of
// startContainer is the guest's.
#ifndef RUNTIME_HOOKS_H
#define RUNTIME_HOOKS_H

#include <sys/types.h>

#include "oci/oci.h"

struct client;
struct err;

// The namespaces that this process had before it took those of a container (placement_enter).
enum { HOOKS_HOME_NS = 3 };
struct hooks_home {
	int ns[HOOKS_HOME_NS];
};
int hooks_home_save(struct hooks_home *ret, struct err *e);
// Back into them, for good.
int hooks_home_return(const struct hooks_home *h, struct err *e);
void hooks_home_done(struct hooks_home *h);

struct hooks_container {
	const struct oci_config *config;
	const char *id, *bundle;
	pid_t pid;                     // of its proxy; 0: it is gone
	const struct hooks_home *home; // NULL: this process is there
};

// Runs all hooks of that kind, in order, up to one that fails. It says which, and what it printed.
int hooks_run(const struct hooks_container *c, enum oci_hook_kind kind, struct err *e);
// Runs all of them, whatever they do: a failure is logged.
void hooks_run_poststop(const struct hooks_container *c);

// Keeps what a later start or delete will run; nothing where the config has no such hooks.
int hooks_store(const char *root, const char *id, const struct oci_config *config, struct err *e);
// *ret_config is the caller's, NULL when there are none.
int hooks_load(const char *root, const char *id, struct oci_config **ret_config, struct err *e);

// Starts a created container and runs its poststart hooks; one that fails ends the container.
int hooks_start(struct client *cl, const char *root, const char *id, const struct hooks_home *home,
		struct err *e);

#endif
