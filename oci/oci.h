// SPDX-License-Identifier: Apache-2.0
// The OCI documents: config.json, state, features. Bytes in, structs out; no file, descriptor or process is touched.
#ifndef OCI_OCI_H
#define OCI_OCI_H

#include "oci/config.h"
#include "oci/features.h"
#include "oci/resources.h"
#include "oci/seccomp.h"
#include "oci/spec.h"
#include "oci/state.h"

#define OCI_VERSION "1.2.1" // the version of the specification that spec, state and features name

#endif
