// SPDX-License-Identifier: Apache-2.0
// Memory of the caller, as a driver reaches it: copied once, and a bad pointer is -EFAULT instead of a crash.
#ifndef VMM_SOFT_USER_H
#define VMM_SOFT_USER_H

#include <stddef.h>
#include <stdint.h>

// 0 or -EFAULT; then what was copied until the bad page stays copied.
int soft_copy_in(void *to, uint64_t from, size_t len);
int soft_copy_out(uint64_t to, const void *from, size_t len);

#endif
