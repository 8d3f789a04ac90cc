// SPDX-License-Identifier: Apache-2.0
// One more process in a container, from the command line: its description, its proxy, its start.
#ifndef RUNTIME_EXEC_H
#define RUNTIME_EXEC_H

#include "oci/oci.h"

struct exec_request {
	const char *root, *id;
	const char *process_file; // a process object; NULL: the container's own with `change`
	struct oci_process_change change;
	const char *user;                                     // UID[:GID], NULL: none
	struct oci_words gids;                                // decimal
	const char *cgroup;                                   // below the container's; "": that one
	const char *pid_file, *console_socket, *pidfd_socket; // NULL: none
	const char *exec_id;                                  // NULL: one is made up
	bool terminal_on_stdio;                               // as in create.h
	bool detach, ignore_paused;
};

// Runs it. With `detach` returns when it has started, else when it has ended: *ret_code is then its exit code. An error
// says why it never ran.
int exec_run(const struct exec_request *req, uint32_t *ret_code, struct err *e);

// "UID" or "UID:GID".
int exec_parse_user(const char *text, struct oci_opt_u32 *ret_uid, struct oci_opt_u32 *ret_gid,
		    struct err *e);

#endif
