// SPDX-License-Identifier: Apache-2.0
#include "runtime/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/host_config.h"
#include "runtime/sizing.h"
#include "vmm/vmm.h"

#define PREFIX "io.bulkhead."
#define CRI "io.kubernetes.cri."
#define MIB (1ull << 20)

// What the bundle says about its machine, read and allowed, before anything is chosen.
struct wish {
	const char *hypervisor;           // NULL: not said
	uint64_t memory, vcpus;           // explicit; 0: not said
	const char *memory_at, *vcpus_at; // where
	uint64_t limit;                   // of the resources; 0: none
	int64_t quota;                    // of the resources; 0: none
	uint64_t period;
};

// ---- annotations
static int read_number(const char *key, const char *text, uint64_t *ret, struct err *e)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno)
		return err_set(e, EINVAL, "annotations[\"%s\"]: \"%.40s\" is not a number", key,
			       text);
	return 0;
}

static int take_annotation(enum host_annotation what, const char *key, const char *text,
			   struct wish *w, struct err *e)
{
	switch (what) {
	case HOST_ANNOTATION_VCPUS:
		w->vcpus_at = "annotations[\"io.bulkhead.vcpus\"]";
		if (read_number(key, text, &w->vcpus, e) < 0)
			return -EINVAL;
		return w->vcpus ? 0 : err_set(e, EINVAL, "%s: must be greater than 0", w->vcpus_at);
	case HOST_ANNOTATION_MEMORY:
		w->memory_at = "annotations[\"io.bulkhead.memory\"]";
		if (!sizing_parse_bytes(text, &w->memory) || w->memory == 0)
			return err_set(e, EINVAL, "%s: \"%.40s\" is not a size such as 512Mi",
				       w->memory_at, text);
		return 0;
	case HOST_ANNOTATION_HYPERVISOR:
		if (!sizing_is_hypervisor(text))
			return err_set(
				e, EINVAL,
				"annotations[\"%s\"]: unknown value \"%.40s\" (auto, mshv or soft)",
				key, text);
		w->hypervisor = text;
		return 0;
	}
	return err_set(e, EINVAL, "annotations[\"%s\"]: unknown", key);
}

static int read_annotations(const struct oci_config *c, const struct host_config *h, struct wish *w,
			    struct err *e)
{
	static const char *const name[] = { "io.bulkhead.vcpus", "io.bulkhead.memory",
					    "io.bulkhead.hypervisor" };
	enum { N_NAMES = sizeof(name) / sizeof(name[0]) };

	for (size_t i = 0; i < c->annotations.n; i++) {
		const char *key = c->annotations.v[i].key;
		size_t k = 0;
		int r;

		if (strncmp(key, PREFIX, strlen(PREFIX)) != 0)
			continue;
		while (k < N_NAMES && strcmp(name[k], key) != 0)
			k++;
		if (k == N_NAMES)
			return err_set(e, EINVAL, "annotations[\"%.100s\"]: unknown annotation",
				       key);
		r = host_allow_annotation(h, (enum host_annotation)k, e);
		if (r < 0)
			return err_wrap(e, "annotations[\"%s\"]", key);
		r = take_annotation((enum host_annotation)k, key, c->annotations.v[i].value, w, e);
		if (r < 0)
			return r;
	}
	return 0;
}

// ---- the vm object
// What no pod can honour, however it is configured. An image has been refused before: with it, there need be no root.
static int check_vm(const struct oci_vm *vm, struct err *e)
{
	const struct oci_vm_hw *hw = &vm->hw;

	if (vm->hypervisor.parameters.n > 0)
		return err_set(e, ENOTSUP, "vm.hypervisor.parameters: not supported");
	if (hw->device_tree)
		return err_set(e, ENOTSUP, "vm.%s.deviceTree: not supported", hw->key);
	if (hw->has_dtdevs)
		return err_set(e, ENOTSUP, "vm.%s.dtdevs: not supported", hw->key);
	if (hw->has_iomems)
		return err_set(e, ENOTSUP, "vm.%s.iomems: not supported", hw->key);
	if (hw->has_irqs)
		return err_set(e, ENOTSUP, "vm.%s.irqs: not supported", hw->key);
	return 0;
}

static int read_parameters(const struct oci_strv *v, const struct host_config *h, char *ret,
			   struct err *e)
{
	size_t used = 0;

	for (size_t i = 0; i < v->n; i++) {
		if (host_allow_parameter(h, v->v[i], e) < 0)
			return err_wrap(e, "vm.kernel.parameters[%zu]", i);
		if (used + strlen(v->v[i]) + 2 > MACHINE_PARAMETERS_BYTES)
			return err_set(e, E2BIG,
				       "vm.kernel.parameters: longer than %d bytes together",
				       MACHINE_PARAMETERS_BYTES - 1);
		used += (size_t)snprintf(ret + used, MACHINE_PARAMETERS_BYTES - used, "%s%s",
					 used ? " " : "", v->v[i]); // fits
	}
	return 0;
}

static int read_sizes(const struct oci_vm_hw *hw, const struct host_config *h, struct wish *w,
		      struct err *e)
{
	bool lower = strcmp(hw->key, "hwconfig") == 0;

	if (hw->vcpus.set && !w->vcpus) {
		w->vcpus_at = lower ? "vm.hwconfig.vcpus" : "vm.hwConfig.vcpus";
		if (host_allow_vm(h, HOST_VM_VCPUS, e) < 0)
			return err_wrap(e, "%s", w->vcpus_at);
		w->vcpus = hw->vcpus.v;
	}
	if (hw->memory.set && !w->memory) {
		w->memory_at = lower ? "vm.hwconfig.memory" : "vm.hwConfig.memory";
		if (host_allow_vm(h, HOST_VM_MEMORY, e) < 0)
			return err_wrap(e, "%s", w->memory_at);
		w->memory = hw->memory.v;
	}
	return 0;
}

static int read_vm(const struct oci_config *c, const struct host_config *h, struct machine *m,
		   struct wish *w, struct err *e)
{
	const struct oci_vm *vm = &c->vm;
	int r = c->has_vm ? check_vm(vm, e) : 0;

	if (r < 0 || !c->has_vm)
		return r;
	if (vm->hypervisor.path &&
	    (r = host_allow_path(h, HOST_VM_HYPERVISOR_PATH, vm->hypervisor.path, m->vmm, e)) < 0)
		return err_wrap(e, "vm.hypervisor.path");
	if (vm->kernel.path &&
	    (r = host_allow_path(h, HOST_VM_KERNEL_PATH, vm->kernel.path, m->kernel, e)) < 0)
		return err_wrap(e, "vm.kernel.path");
	if (vm->kernel.initrd &&
	    (r = host_allow_path(h, HOST_VM_KERNEL_INITRD, vm->kernel.initrd, m->initrd, e)) < 0)
		return err_wrap(e, "vm.kernel.initrd");
	if ((r = read_parameters(&vm->kernel.parameters, h, m->parameters, e)) < 0)
		return r;
	return read_sizes(&vm->hw, h, w, e);
}

// ---- resources
// A sandbox has little need itself: what its pod may use is in annotations, and its own limits say nothing about that.
static int read_sandbox(const struct oci_config *c, struct wish *w, struct err *e)
{
	static const char *const key[] = { CRI "sandbox-memory", CRI "sandbox-cpu-quota",
					   CRI "sandbox-cpu-period" };
	uint64_t v[3] = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		const char *text = oci_map_get(&c->annotations, key[i]);

		// The quota may be -1: none.
		if (!text || (i == 1 && strcmp(text, "-1") == 0))
			continue;
		if (read_number(key[i], text, &v[i], e) < 0)
			return -EINVAL;
		if (v[i] > INT64_MAX)
			return err_set(e, EINVAL, "annotations[\"%s\"]: out of range", key[i]);
	}
	w->limit = v[0];
	w->quota = (int64_t)v[1];
	w->period = v[2];
	return 0;
}

static int read_resources(const struct oci_config *c, struct wish *w, struct err *e)
{
	const struct oci_resources *res = &c->lin.resources;
	const char *type = oci_map_get(&c->annotations, CRI "container-type");

	if (type && strcmp(type, "sandbox") == 0)
		return read_sandbox(c, w, e);
	if (res->memory_limit.set && res->memory_limit.v > 0)
		w->limit = (uint64_t)res->memory_limit.v;
	if (res->cpu_quota.set && res->cpu_quota.v > 0)
		w->quota = res->cpu_quota.v;
	w->period = res->cpu_period.set ? res->cpu_period.v : 0;
	return 0;
}

// ---- choosing
static int choose_vcpus(const char *given, const struct wish *w, const struct host_config *h,
			struct machine *m, struct err *e)
{
	unsigned max = (unsigned)h->maxima.vcpus;
	char *end;

	if (given && given[0]) {
		long n;

		errno = 0;
		n = strtol(given, &end, 10);
		if (errno || *end || n < 1 || n > VMM_VCPUS_MAX)
			return err_set(e, EINVAL, "--vcpus: \"%.40s\" is not a number from 1 to %d",
				       given, VMM_VCPUS_MAX);
		m->vcpus = (unsigned)n;
	} else if (w->vcpus) {
		if (w->vcpus > max)
			return err_set(e, EINVAL, "%s: %llu is more than maxima.vcpus (%u) of %s",
				       w->vcpus_at, (unsigned long long)w->vcpus, max, h->path);
		m->vcpus = (unsigned)w->vcpus;
	} else {
		m->vcpus = w->quota > 0 ? sizing_vcpus(w->quota, w->period, max)
					: (unsigned)h->defaults.vcpus;
	}
	return 0;
}

static int read_mib(const char *given, uint64_t *ret, struct err *e)
{
	char *end;

	errno = 0;
	*ret = strtoull(given, &end, 10);
	if (errno || *end || given[0] < '0' || given[0] > '9')
		return err_set(e, EINVAL, "--memory: \"%.40s\" is not a number of MiB", given);
	if (*ret > SIZING_MEMORY_MAX / MIB)
		return err_set(e, EINVAL, "too much memory for a guest: %s MiB (at most %llu)",
			       given, SIZING_MEMORY_MAX / MIB);
	*ret *= MIB;
	return 0;
}

// A container's limit says what it may use, not that there is as much: what the host's maximum cuts off is not an error.
static int choose_memory(const char *given, const struct wish *w, const struct host_config *h,
			 struct machine *m, struct err *e)
{
	uint64_t bytes = h->defaults.memory, max = h->maxima.memory;
	int r = 0;

	if (given && given[0]) {
		r = read_mib(given, &bytes, e);
	} else if (w->memory) {
		bytes = w->memory;
		if (bytes > max)
			r = err_set(e, EINVAL, "%s: %llu is more than maxima.memory (%llu) of %s",
				    w->memory_at, (unsigned long long)bytes,
				    (unsigned long long)max, h->path);
	} else if (w->limit) {
		bytes = sizing_ram(w->limit, m->vcpus);
		if (bytes > max)
			bytes = max;
	}
	if (r < 0)
		return r;
	if (bytes < SIZING_MEMORY_MIN)
		return err_set(e, EINVAL,
			       "%s%stoo little memory for a guest: %llu bytes (at least %llu MiB)",
			       w->memory && !given ? w->memory_at : "",
			       w->memory && !given ? ": " : "", (unsigned long long)bytes,
			       SIZING_MEMORY_MIN / MIB);
	m->memory_bytes = (bytes + 4095) & ~4095ull;
	return 0;
}

static int choose_hypervisor(const char *given, const struct wish *w, const struct host_config *h,
			     struct machine *m, struct err *e)
{
	const char *name = given && given[0]        ? given
			   : w->hypervisor          ? w->hypervisor
			   : h->defaults.hypervisor ? h->defaults.hypervisor
						    : "auto";

	if (strcmp(name, "kvm") == 0)
		return err_set(e, ENOTSUP, "hypervisor kvm: not supported");
	(void)snprintf(m->hypervisor, sizeof(m->hypervisor), "%s", name); // one of four words
	return strcmp(name, "mshv") == 0 ? vmm_hypervisor_probe(VMM_HV_MSHV, e) : 0;
}

// As locate_data, but absolute: the supervisor has another working directory. buf holds what the vm object says, or "".
static int choose_file(const char *name, const char *given, const char *env, const char *dflt,
		       char *buf, struct err *e)
{
	const char *from_env = getenv(env);
	char *real AUTO_FREE = NULL, wanted[LOCATE_BYTES];
	int r;

	(void)snprintf(wanted, sizeof(wanted), "%s", buf); // of the same size
	if (given && given[0])
		r = locate_data(name, given, env, buf, e);
	else if (wanted[0])
		r = locate_data(name, wanted, env, buf, e);
	else
		r = locate_data(name, from_env && from_env[0] ? NULL : dflt, env, buf, e);
	if (r < 0)
		return r;
	real = realpath(buf, NULL);
	if (!real || strlen(real) >= LOCATE_BYTES)
		return err_errno(e, real ? ENAMETOOLONG : errno, "%s", buf);
	memcpy(buf, real, strlen(real) + 1);
	return 0;
}

int machine_choose(const struct machine_options *opt, const struct oci_config *c,
		   const struct host_config *h, struct machine *m, struct err *e)
{
	struct wish w = { 0 };
	int kernel, r;

	memset(m, 0, sizeof(*m));
	if ((r = read_annotations(c, h, &w, e)) < 0 || (r = read_vm(c, h, m, &w, e)) < 0 ||
	    (r = read_resources(c, &w, e)) < 0)
		return err_wrap(e, "config.json");
	if ((r = choose_hypervisor(opt->hypervisor, &w, h, m, e)) < 0 ||
	    (r = choose_vcpus(opt->vcpus, &w, h, m, e)) < 0 ||
	    (r = choose_memory(opt->memory, &w, h, m, e)) < 0 ||
	    (r = choose_file("vmlinux", opt->kernel, "BULKHEAD_KERNEL", h->defaults.kernel,
			     m->kernel, e)) < 0)
		return r;
	kernel = locate_open_kernel(m->kernel, e);
	if (kernel < 0)
		return kernel;
	close_fd(kernel);
	return choose_file("initrd.cpio", opt->initrd, "BULKHEAD_INITRD", h->defaults.initrd,
			   m->initrd, e);
}
