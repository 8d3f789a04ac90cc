// SPDX-License-Identifier: Apache-2.0
// The runtime as a library: pods and containers on this host. What bulkhead's sub-commands and the shim call.
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

#include "runtime/client.h"
#include "runtime/create.h"
#include "runtime/locate.h"
#include "runtime/store.h"

#endif
