// SPDX-License-Identifier: Apache-2.0
// A pod's egress policy as JSON, and as the lines that bulkhead-vmm takes with an interface (vmm/virtio/egress.h):
//   { "resolvers": ["10.0.0.53"],
//     "allow": [ { "cidr": "192.0.2.0/24", "protocol": "tcp", "ports": [443, "8000-8099"] },
//                { "name": "*.example.org", "protocol": "tcp", "ports": [443] } ] }
// protocol is tcp, udp, icmp (without ports) or any, the default; without ports, all are meant.
#ifndef RUNTIME_EGRESS_H
#define RUNTIME_EGRESS_H

#include <stddef.h>

struct err;

// *ret: the lines, NUL-terminated, the caller's to free. An error begins with the path of what is wrong.
int egress_parse(const char *json, size_t len, char **ret, struct err *e);
// The lines as a sealed file that can be given away with VMM_CONTROL_PLUG_NET; close-on-exec, the caller's.
int egress_file(const char *lines, int *ret_fd, struct err *e);

#endif
