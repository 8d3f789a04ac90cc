// SPDX-License-Identifier: Apache-2.0
// The files of the host's configuration: found, trusted, read, and their comments taken out.
#ifndef RUNTIME_HOST_FILE_H
#define RUNTIME_HOST_FILE_H

#include <stddef.h>

struct err;

enum { HOST_FILE_BYTES_MAX = 1 << 20, HOST_FILE_DROP_INS_MAX = 256 };

// The text of a file that only root and the caller can write. *ret is the caller's.
int host_file_read(const char *path, char **ret, size_t *ret_len, struct err *e);
// Paths of DIR/*.json in the order of their names, NULL-terminated; none if there is no such directory. The caller frees
// each, and the array.
int host_file_list(const char *dir, char ***ret, struct err *e);

// Comments, // to the end of the line and /* */, become blanks: places in messages stay what they are.
int host_file_blank_comments(char *text, size_t len, struct err *e);

#endif
