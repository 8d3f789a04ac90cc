// SPDX-License-Identifier: Apache-2.0
// The process of a pod: boots the machine, serves the Task API, ends with the pod.
#ifndef RUNTIME_SUPERVISOR_H
#define RUNTIME_SUPERVISOR_H

#include "runtime/pod.h"

// The channel to whoever started the supervisor: a SOCK_SEQPACKET socket. The supervisor sends "R" when its socket
// listens, or "E" and a message. The starter sends "C" when the container is to stay; its end before that undoes all.
enum { SUPERVISOR_CHANNEL_FD = 3, SUPERVISOR_TIMINGS_FD = 4 };

// Runs until the pod has ended and been shut down. Returns 0, or -errno when it could not begin (already reported on the
// channel). The caller then leaves the process.
int supervisor_run(const struct pod_config *cfg, int channel_fd);

#endif
