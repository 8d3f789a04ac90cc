// SPDX-License-Identifier: Apache-2.0
// Directories: made with their parents, removed with what is in them.
#ifndef RUNTIME_TREE_H
#define RUNTIME_TREE_H

#include <sys/types.h>

struct err;

int tree_make_dirs(const char *path, mode_t mode, struct err *e);
// Removes path and all below it; never follows a symbolic link and never crosses into another file system (a mount that
// is still there is an error, its content is not touched). A path that is not there is fine.
int tree_remove(const char *path, struct err *e);

#endif
