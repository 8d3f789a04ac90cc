// SPDX-License-Identifier: Apache-2.0
#include "runtime/host_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

enum { PROC_FILE_BYTES_MAX = 16 << 20 };

void host_layout_done(struct host_layout *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		free(l->v[i].mount);
		free(l->v[i].own);
	}
	l->n = 0;
}

// Is the word in a list with commas?
static bool list_has(const char *list, const char *word, size_t len)
{
	for (const char *at = list; *at;) {
		size_t n = strcspn(at, ",");

		if (n == len && memcmp(at, word, len) == 0)
			return true;
		at += n + (at[n] == ',');
	}
	return false;
}

bool host_hierarchy_has(const struct host_hierarchy *h, const char *controller)
{
	return list_has(h->controllers, controller, strlen(controller));
}

const char *host_layout_name(const struct host_layout *l)
{
	bool v1 = false, v2 = false;

	for (unsigned i = 0; i < l->n; i++) {
		v1 = v1 || !l->v[i].v2;
		v2 = v2 || l->v[i].v2;
	}
	return v1 && v2 ? "hybrid" : v1 ? "v1" : v2 ? "v2" : "none";
}

// "\040" and the like become what they stand for.
static void unescape(char *text)
{
	char *to = text;

	for (const char *p = text; *p; p++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
		    p[3] >= '0' && p[3] <= '7') {
			*to++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 3;
		} else {
			*to++ = *p;
		}
	}
	*to = '\0';
}

// A line of mountinfo in its parts, which point into it.
struct mount_line {
	char *root, *mount, *type, *options;
};

static bool split_mount(char *line, struct mount_line *m)
{
	char *field[10] = { 0 }, *save = NULL, *dash = strstr(line, " - ");
	unsigned n = 0;

	if (!dash)
		return false;
	*dash = '\0';
	for (char *w = strtok_r(line, " ", &save); w && n < 6; w = strtok_r(NULL, " ", &save))
		field[n++] = w;
	m->root = field[3];
	m->mount = field[4];
	m->type = strtok_r(dash + 3, " ", &save);
	(void)strtok_r(NULL, " ", &save); // the source
	m->options = strtok_r(NULL, " ", &save);
	if (n < 6 || !m->type || !m->options)
		return false;
	unescape(m->root);
	unescape(m->mount);
	return true;
}

static bool serves(const struct mount_line *m, const char *controllers)
{
	if (!*controllers)
		return strcmp(m->type, "cgroup2") == 0;
	if (strcmp(m->type, "cgroup") != 0)
		return false;
	for (const char *at = controllers; *at;) {
		size_t len = strcspn(at, ",");

		if (!list_has(m->options, at, len))
			return false;
		at += len + (at[len] == ',');
	}
	return true;
}

// The controllers of a v2 hierarchy: the words of a file, as a list with commas.
static void read_controllers(struct host_hierarchy *h)
{
	char path[HOST_PATH_BYTES], *text AUTO_FREE = NULL, *save = NULL;
	size_t at = 0;

	if (snprintf(path, sizeof(path), "%s/cgroup.controllers", h->mount) >= (int)sizeof(path) ||
	    io_read_file(AT_FDCWD, path, HOST_CONTROLLERS_BYTES, &text, NULL, NULL) < 0)
		return; // none, then
	for (char *w = strtok_r(text, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
		if (at + strlen(w) + 2 > sizeof(h->controllers))
			break;
		at += (size_t)snprintf(h->controllers + at, sizeof(h->controllers) - at, "%s%s",
				       at ? "," : "", w);
	}
}

// path: of the group, from the hierarchy's root. Where only a part of the hierarchy is mounted, the way below that part.
static int add(struct host_layout *l, const struct mount_line *m, const char *controllers,
	       const char *path, struct err *e)
{
	struct host_hierarchy *h = &l->v[l->n];
	size_t root = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);

	if (l->n == HOST_HIERARCHIES_MAX ||
	    strlen(controllers) >= sizeof(h->controllers)) // more than Linux has
		return err_set(e, E2BIG, "/proc/self/cgroup: too many hierarchies");
	if (strncmp(path, m->root, root) != 0 || (path[root] && path[root] != '/'))
		path = ""; // of a namespace, or a mount, that does not show it
	else
		path += root;
	if (strstr(path, "/..") || strcmp(path, "/") == 0)
		path = "";
	*h = (struct host_hierarchy){ .v2 = !*controllers };
	h->mount = strdup(m->mount);
	if (!h->mount || asprintf(&h->own, "%s%s", m->mount, path) < 0) {
		free(h->mount);
		return err_errno(e, ENOMEM, "cgroups of the host");
	}
	memcpy(h->controllers, controllers, strlen(controllers) + 1);
	if (h->v2)
		read_controllers(h);
	l->n++;
	return 0;
}

// One line of /proc/self/cgroup, "4:cpu,cpuacct:/a/b", and the first mount that shows its hierarchy.
static int add_line(struct host_layout *l, const char *mountinfo, char *line, struct err *e)
{
	char *controllers = strchr(line, ':'), *path = NULL;
	char *text AUTO_FREE = NULL, *save = NULL;
	struct mount_line m;

	if (controllers)
		path = strchr(++controllers, ':');
	if (!path)
		return 0;
	*path++ = '\0';
	text = strdup(mountinfo);
	if (!text)
		return err_errno(e, ENOMEM, "cgroups of the host");
	for (char *row = strtok_r(text, "\n", &save); row; row = strtok_r(NULL, "\n", &save)) {
		if (split_mount(row, &m) && serves(&m, controllers))
			return add(l, &m, controllers, path, e);
	}
	return 0; // not mounted: not there for us
}

int host_layout_read(const char *mountinfo, const char *cgroup, struct host_layout *ret,
		     struct err *e)
{
	char *mounts AUTO_FREE = NULL, *groups AUTO_FREE = NULL, *save = NULL;
	int r;

	*ret = (struct host_layout){ 0 };
	if (!mountinfo) {
		r = io_read_file(AT_FDCWD, "/proc/self/mountinfo", PROC_FILE_BYTES_MAX, &mounts,
				 NULL, e);
		if (r < 0)
			return r;
		mountinfo = mounts;
	}
	if (cgroup)
		groups = strdup(cgroup);
	else if ((r = io_read_file(AT_FDCWD, "/proc/self/cgroup", PROC_FILE_BYTES_MAX, &groups,
				   NULL, e)) < 0)
		return r == -ENOENT ? 0 : r; // a kernel without cgroups
	if (!groups)
		return err_errno(e, ENOMEM, "cgroups of the host");
	for (char *line = strtok_r(groups, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if ((r = add_line(ret, mountinfo, line, e)) < 0)
			return r;
	}
	return 0;
}
