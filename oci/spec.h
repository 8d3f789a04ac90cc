// SPDX-License-Identifier: Apache-2.0
// The default config.json that `spec` writes.
#ifndef OCI_SPEC_H
#define OCI_SPEC_H

// NUL-terminated JSON text with a final newline; static.
const char *oci_spec_default(void);

#endif
