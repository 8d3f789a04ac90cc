// SPDX-License-Identifier: Apache-2.0
// What create and run share: their options, and a container with a proxy process of its own.
#ifndef RUNTIME_LAUNCH_H
#define RUNTIME_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/cli.h"

struct create;
struct create_request;
struct err;

struct launch_options {
	const char *bundle, *pid_file, *console_socket, *pidfd_socket, *preserve_fds;
	bool detach, keep, terminal_on_stdio;
};
#define LAUNCH_OPTIONS                                                                          \
	{ "bundle",   'b',                                                                      \
	  CLI_STRING, offsetof(struct launch_options, bundle),                                  \
	  "DIR",      "the bundle (default: the working directory)" },                          \
		{ "pid-file", 0,                                                                \
		  CLI_STRING, offsetof(struct launch_options, pid_file),                        \
		  "FILE",     "write the pid of the process that stands for the container's" }, \
		{ "console-socket", 0,                                                          \
		  CLI_STRING,       offsetof(struct launch_options, console_socket),            \
		  "PATH",           "unix socket that is sent the terminal's other end" },      \
		{ "pidfd-socket", 0,                                                            \
		  CLI_STRING,     offsetof(struct launch_options, pidfd_socket),                \
		  "PATH",         "unix socket that is sent a pidfd of that process" },         \
		{ "preserve-fds",                                                               \
		  0,                                                                            \
		  CLI_STRING,                                                                   \
		  offsetof(struct launch_options, preserve_fds),                                \
		  "N",                                                                          \
		  "only 0: descriptors do not reach into a guest" },                            \
		{ "terminal-on-stdio",                                                          \
		  0,                                                                            \
		  CLI_FLAG,                                                                     \
		  offsetof(struct launch_options, terminal_on_stdio),                           \
		  NULL,                                                                         \
		  "the standard streams carry the terminal, and are none" },                    \
		{ "no-pivot", 0, CLI_IGNORED_FLAG, 0, NULL, "accepted, ignored" },              \
		{ "no-new-keyring", 0, CLI_IGNORED_FLAG, 0, NULL, "accepted, ignored" },        \
	{                                                                                       \
		"no-subreaper", 0, CLI_IGNORED_FLAG, 0, NULL, "accepted, ignored"               \
	}

// Refuses what cannot be honoured, and fills *ret from both sets of options.
int launch_request(const struct cli_globals *g, const struct launch_options *o, const char *id,
		   struct create_request *ret, struct err *e);
// Creates the container with a proxy of its own; with `start` also starts it. On failure nothing is left.
int launch_detached(const struct create_request *req, const struct launch_options *o, bool start,
		    struct err *e);
// --preserve-fds: refused unless it is 0.
int launch_check_preserve_fds(const char *n, struct err *e);

// Nobody should take the soft partition for isolation by hardware because they forgot to look: says so once.
void launch_warn(const struct create *c);

#endif
