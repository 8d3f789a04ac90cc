// SPDX-License-Identifier: Apache-2.0
// The keys of the host's configuration. Each document sets what it names, over what was set before.
#include "runtime/host_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/json.h"
#include "base/own.h"
#include "runtime/host_file.h"
#include "runtime/host_priv.h"
#include "runtime/sizing.h"
#include "vmm/vmm.h"

enum { HOST_DEPTH_MAX = 8, HOST_LIST_MAX = 1024, HOST_TEXT_MAX = 4095 };

struct host_doc {
	struct host_doc *next;
	yajl_val tree;
};

const char *const host_vm_name[] = {
	[HOST_VM_HYPERVISOR_PATH] = "hypervisor.path",
	[HOST_VM_KERNEL_PATH] = "kernel.path",
	[HOST_VM_KERNEL_INITRD] = "kernel.initrd",
	[HOST_VM_KERNEL_PARAMETERS] = "kernel.parameters",
	[HOST_VM_VCPUS] = "hwConfig.vcpus",
	[HOST_VM_MEMORY] = "hwConfig.memory",
	NULL,
};
const char *const host_annotation_name[] = {
	[HOST_ANNOTATION_VCPUS] = "io.bulkhead.vcpus",
	[HOST_ANNOTATION_MEMORY] = "io.bulkhead.memory",
	[HOST_ANNOTATION_HYPERVISOR] = "io.bulkhead.hypervisor",
	NULL,
};

OWN_DEFINE(struct host_config *, host_config_free)

// ---- values
typedef int read_fn(const struct json_at *at, void *ret, struct err *e);

static int read_hypervisor(const struct json_at *at, void *ret, struct err *e)
{
	const char *name;
	int r = json_string(at, HOST_TEXT_MAX, &name, e);

	if (r == 0 && !sizing_is_hypervisor(name))
		r = json_err(at, e, "unknown value \"%.40s\" (auto, mshv or soft)", name);
	if (r == 0)
		memcpy(ret, &name, sizeof(name));
	return r;
}

static int read_path(const struct json_at *at, void *ret, struct err *e)
{
	const char *path;
	int r = json_string(at, HOST_TEXT_MAX, &path, e);

	if (r == 0 && path[0] != '/')
		r = json_err(at, e, "\"%.100s\" is not an absolute path", path);
	if (r == 0)
		memcpy(ret, &path, sizeof(path));
	return r;
}

static int read_vcpus(const struct json_at *at, void *ret, struct err *e)
{
	uint64_t n;
	int r = json_u64(at, VMM_VCPUS_MAX, &n, e);

	if (r == 0 && n == 0)
		r = json_err(at, e, "must be greater than 0");
	if (r == 0)
		memcpy(ret, &n, sizeof(n));
	return r;
}

// Bytes as a number, or as text with a unit.
static int read_memory(const struct json_at *at, void *ret, struct err *e)
{
	const char *text = YAJL_GET_STRING(at->v);
	uint64_t n = 0;
	int r = 0;

	if (!text)
		r = json_u64(at, UINT64_MAX, &n, e);
	else if (!sizing_parse_bytes(text, &n))
		r = json_err(at, e, "\"%.40s\" is not a size such as 512Mi", text);
	if (r == 0 && (n < SIZING_MEMORY_MIN || n > SIZING_MEMORY_MAX))
		r = json_err(at, e, "%llu is out of range (%llu to %llu)", (unsigned long long)n,
			     SIZING_MEMORY_MIN, SIZING_MEMORY_MAX);
	if (r == 0)
		memcpy(ret, &n, sizeof(n));
	return r;
}

static int read_list(const struct json_at *at, void *ret, bool paths, struct err *e)
{
	struct host_list *list = ret, new = { NULL, 0 };
	size_t n;
	int r = json_is_array(at, HOST_LIST_MAX, &n, e);

	if (r < 0)
		return r;
	new.v = calloc(n + 1, sizeof(*new.v));
	if (!new.v)
		return err_errno(e, ENOMEM, "a list of the configuration");
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_item(at, i);

		r = paths ? read_path(&item, &new.v[i], e)
			  : json_string(&item, HOST_TEXT_MAX, &new.v[i], e);
		// It would match nothing: what it is compared with has none.
		if (r == 0 && paths && (strstr(new.v[i], "/../") || strstr(new.v[i], "/./")))
			r = json_err(&item, e, "\"%.100s\" has a component . or ..", new.v[i]);
	}
	if (r < 0) {
		free(new.v);
		return r;
	}
	free(list->v);
	new.n = n;
	*list = new;
	return 0;
}

static int read_paths(const struct json_at *at, void *ret, struct err *e)
{
	return read_list(at, ret, true, e);
}

static int read_texts(const struct json_at *at, void *ret, struct err *e)
{
	return read_list(at, ret, false, e);
}

static int read_mask(const struct json_at *at, const char *const *names, void *ret, struct err *e)
{
	uint64_t mask = 0;
	size_t n;
	int r = json_is_array(at, HOST_LIST_MAX, &n, e);

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_item(at, i);
		const char *name;
		size_t k = 0;

		r = json_string(&item, HOST_TEXT_MAX, &name, e);
		while (r == 0 && names[k] && strcmp(names[k], name) != 0)
			k++;
		if (r == 0 && !names[k])
			r = json_err(&item, e, "unknown value \"%.100s\"", name);
		mask |= 1ull << k;
	}
	if (r == 0)
		memcpy(ret, &mask, sizeof(mask));
	return r;
}

static int read_vm(const struct json_at *at, void *ret, struct err *e)
{
	return read_mask(at, host_vm_name, ret, e);
}

static int read_annotations(const struct json_at *at, void *ret, struct err *e)
{
	return read_mask(at, host_annotation_name, ret, e);
}

// ---- keys
#define H(member) offsetof(struct host_config, member)
static const struct {
	const char *object, *name;
	read_fn *read;
	size_t offset;
} keys[] = {
	{ "defaults", "hypervisor", read_hypervisor, H(defaults.hypervisor) },
	{ "defaults", "kernel", read_path, H(defaults.kernel) },
	{ "defaults", "initrd", read_path, H(defaults.initrd) },
	{ "defaults", "vcpus", read_vcpus, H(defaults.vcpus) },
	{ "defaults", "memory", read_memory, H(defaults.memory) },
	{ "maxima", "vcpus", read_vcpus, H(maxima.vcpus) },
	{ "maxima", "memory", read_memory, H(maxima.memory) },
	{ "allow", "vm", read_vm, H(allow.vm) },
	{ "allow", "annotations", read_annotations, H(allow.annotations) },
	{ "allow", "hypervisorPaths", read_paths, H(allow.hypervisor_paths) },
	{ "allow", "kernelPaths", read_paths, H(allow.kernel_paths) },
	{ "allow", "initrdPaths", read_paths, H(allow.initrd_paths) },
	{ "allow", "kernelParameters", read_texts, H(allow.kernel_parameters) },
};
enum { N_KEYS = sizeof(keys) / sizeof(keys[0]) };

static int parse_object(const struct json_at *at, struct host_config *h, struct err *e)
{
	bool known = false;
	int r;

	for (size_t k = 0; k < N_KEYS; k++)
		known = known || strcmp(keys[k].object, at->key) == 0;
	if (!known)
		return json_err(at, e, "unknown key");
	r = json_is_object(at, e);
	for (size_t i = 0; r == 0 && i < at->v->u.object.len; i++) {
		struct json_at sub = json_pair(at, i);
		size_t k = 0;

		while (k < N_KEYS &&
		       (strcmp(keys[k].object, at->key) != 0 || strcmp(keys[k].name, sub.key) != 0))
			k++;
		r = k < N_KEYS ? keys[k].read(&sub, (char *)h + keys[k].offset, e)
			       : json_err(&sub, e, "unknown key");
	}
	return r;
}

static int add_text(struct host_config *h, const char *text, size_t len, struct err *e)
{
	struct host_doc *doc = calloc(1, sizeof(*doc));
	struct json_at top;
	int r;

	if (!doc)
		return err_errno(e, ENOMEM, "the configuration");
	doc->next = h->docs;
	h->docs = doc;
	r = json_parse(text, len, HOST_DEPTH_MAX, &doc->tree, e);
	if (r < 0)
		return r;
	top = json_top(doc->tree);
	r = json_is_object(&top, e);
	for (size_t i = 0; r == 0 && i < top.v->u.object.len; i++) {
		struct json_at at = json_pair(&top, i);

		r = parse_object(&at, h, e);
	}
	return r;
}

static uint64_t host_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t bytes = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;

	return bytes < SIZING_MEMORY_MIN   ? SIZING_MEMORY_MIN
	       : bytes > SIZING_MEMORY_MAX ? SIZING_MEMORY_MAX
					   : bytes;
}

static struct host_config *config_new(const char *path)
{
	struct host_config *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->path = strdup(path);
	if (!h->path) {
		free(h);
		return NULL;
	}
	h->defaults.vcpus = 1;
	h->defaults.memory = SIZING_MEMORY_DEFAULT;
	h->maxima.vcpus = VMM_VCPUS_MAX;
	h->maxima.memory = host_memory();
	h->allow.vm = 1u << HOST_VM_VCPUS | 1u << HOST_VM_MEMORY;
	h->allow.annotations = 1u << HOST_ANNOTATION_VCPUS | 1u << HOST_ANNOTATION_MEMORY;
	return h;
}

// Only what all files together say can be at odds.
static int check_whole(const struct host_config *h, struct err *e)
{
	if (h->defaults.vcpus > h->maxima.vcpus)
		return err_set(e, EINVAL, "%s: defaults.vcpus is above maxima.vcpus", h->path);
	if (h->defaults.memory > h->maxima.memory)
		return err_set(e, EINVAL, "%s: defaults.memory is above maxima.memory (%llu)",
			       h->path, (unsigned long long)h->maxima.memory);
	return 0;
}

static int add_file(struct host_config *h, const char *path, struct err *e)
{
	char *text AUTO_FREE = NULL;
	size_t len;
	int r = host_file_read(path, &text, &len, e);

	if (r < 0)
		return r;
	r = add_text(h, text, len, e);
	return r < 0 ? err_wrap(e, "%s", path) : 0;
}

static int add_drop_ins(struct host_config *h, struct err *e)
{
	char *dir AUTO_FREE = NULL, **paths = NULL;
	int r;

	if (asprintf(&dir, "%s.d", h->path) < 0) {
		dir = NULL; // not defined after a failure
		return err_errno(e, ENOMEM, "the configuration");
	}
	r = host_file_list(dir, &paths, e);
	for (size_t i = 0; r == 0 && paths[i]; i++)
		r = add_file(h, paths[i], e);
	for (size_t i = 0; paths && paths[i]; i++)
		free(paths[i]);
	free(paths);
	return r;
}

int host_config_read(const char *given, struct host_config **ret, struct err *e)
{
	struct host_config *h AUTO(host_config_free) = NULL;
	const char *env = getenv(HOST_CONFIG_ENV);
	const char *chosen = given && given[0] ? given : env && env[0] ? env : NULL;
	struct err why = { 0 };
	int r;

	h = config_new(chosen ? chosen : HOST_CONFIG_PATH);
	if (!h)
		return err_errno(e, ENOMEM, "the configuration");
	r = add_file(h, h->path, &why);
	if (r < 0 && (chosen || r != -ENOENT))
		return err_set(e, -r, "%s", why.msg);
	if ((r = add_drop_ins(h, e)) < 0 || (r = check_whole(h, e)) < 0)
		return r;
	*ret = take_ptr(&h);
	return 0;
}

int host_config_parse(const char *const *texts, size_t n, struct host_config **ret, struct err *e)
{
	struct host_config *h AUTO(host_config_free) = config_new("test");
	int r = h ? 0 : err_errno(e, ENOMEM, "the configuration");

	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_text(h, texts[i], strlen(texts[i]), e);
	r = r < 0 ? r : check_whole(h, e);
	if (r == 0)
		*ret = take_ptr(&h);
	return r;
}

void host_config_free(struct host_config *h)
{
	if (!h)
		return;
	while (h->docs) {
		struct host_doc *doc = h->docs;

		h->docs = doc->next;
		yajl_tree_free(doc->tree);
		free(doc);
	}
	free(h->allow.hypervisor_paths.v);
	free(h->allow.kernel_paths.v);
	free(h->allow.initrd_paths.v);
	free(h->allow.kernel_parameters.v);
	free(h->path);
	free(h);
}
