// SPDX-License-Identifier: Apache-2.0
// config.json: the vm object, the machine that a bundle asks for. What may be asked for is decided elsewhere.
#include "base/err.h"
#include "oci/tree.h"

enum { VM_PARAMETERS_MAX = 256, VM_PARAMETER_BYTES = 1024 };

static int read_path(const struct json_at *obj, const char *key, const char **ret, struct err *e)
{
	int r = oci_need_str(obj, key, ret, e);

	return r < 0 ? r : oci_check_abs_path(obj, key, *ret, e);
}

static int read_parameters(struct oci_tree *t, const struct json_at *obj, struct oci_strv *ret,
			   struct err *e)
{
	struct json_at at;
	size_t n;
	int r;

	if (!json_member(obj, "parameters", &at))
		return 0;
	r = json_is_array(&at, VM_PARAMETERS_MAX, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_item(&at, i);
		const char *text;

		r = json_string(&item, VM_PARAMETER_BYTES, &text, e);
	}
	return r < 0 ? r : oci_read_strv(t, obj, "parameters", ret, e);
}

static int parse_kernel(struct oci_tree *t, const struct json_at *at, struct oci_vm *vm,
			struct err *e)
{
	int r = json_is_object(at, e);

	if (r < 0 || (r = read_path(at, "path", &vm->kernel.path, e)) < 0 ||
	    (r = read_parameters(t, at, &vm->kernel.parameters, e)) < 0 ||
	    (r = oci_read_text(at, "initrd", &vm->kernel.initrd, e)) < 0 || !vm->kernel.initrd)
		return r;
	return oci_check_abs_path(at, "initrd", vm->kernel.initrd, e);
}

static int parse_image(const struct json_at *at, struct oci_vm *vm, struct err *e)
{
	static const char *const format[] = { "raw", "qcow2", "vdi", "vmdk", "vhd", NULL };
	struct json_at sub;
	unsigned n;
	int r = json_is_object(at, e);

	if (r < 0 || (r = read_path(at, "path", &vm->image.path, e)) < 0)
		return r;
	if (!json_member(at, "format", &sub))
		return json_err(&sub, e, "required, but absent");
	r = oci_read_enum(&sub, format, &n, e);
	if (r == 0)
		vm->image.format = format[n];
	return r;
}

static int check_string(const struct json_at *item, struct err *e)
{
	const char *s;

	return json_string(item, OCI_PATH_MAX, &s, e);
}

static int check_irq(const struct json_at *item, struct err *e)
{
	uint64_t n;

	return json_u64(item, UINT32_MAX, &n, e);
}

static int check_iomem(const struct json_at *item, struct err *e)
{
	static const char *const member[] = { "firstGFN", "firstMFN", "nrMFNs" };
	struct oci_opt_u64 v;
	int r = json_is_object(item, e);

	for (unsigned i = 0; r == 0 && i < 3; i++)
		r = oci_read_u64(item, member[i], &v, e);
	return r;
}

// A list of which only the types, and whether it holds anything, matter here.
static int check_each(const struct json_at *obj, const char *key,
		      int (*check)(const struct json_at *item, struct err *e), bool *ret_any,
		      struct err *e)
{
	struct json_at at;
	size_t n;
	int r;

	if (!json_member(obj, key, &at))
		return 0;
	r = json_is_array(&at, OCI_LIST_MAX, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_item(&at, i);

		r = check(&item, e);
	}
	*ret_any = r == 0 && n > 0;
	return r;
}

static int parse_hw(const struct json_at *at, struct oci_vm_hw *hw, struct err *e)
{
	struct json_at sub;
	int r = json_is_object(at, e);

	if (r < 0 || (r = oci_read_u32(at, "vcpus", &hw->vcpus, e)) < 0 ||
	    (r = oci_read_u64(at, "memory", &hw->memory, e)) < 0 ||
	    (r = oci_read_text(at, "deviceTree", &hw->device_tree, e)) < 0 ||
	    (r = check_each(at, "dtdevs", check_string, &hw->has_dtdevs, e)) < 0 ||
	    (r = check_each(at, "iomems", check_iomem, &hw->has_iomems, e)) < 0 ||
	    (r = check_each(at, "irqs", check_irq, &hw->has_irqs, e)) < 0)
		return r;
	if (hw->vcpus.set && hw->vcpus.v == 0) {
		(void)json_member(at, "vcpus", &sub); // it is there
		return json_err(&sub, e, "must be greater than 0");
	}
	if (hw->memory.set && hw->memory.v == 0) {
		(void)json_member(at, "memory", &sub); // it is there
		return json_err(&sub, e, "must be greater than 0");
	}
	return 0;
}

// The specification's text says hwConfig, the tag in its Go source hwconfig: tools write either.
static int parse_either_hw(const struct json_at *vm_at, struct oci_vm *vm, struct err *e)
{
	struct json_at upper, lower;
	bool has_upper = json_member(vm_at, "hwConfig", &upper);
	bool has_lower = json_member(vm_at, "hwconfig", &lower);

	vm->hw.key = has_lower ? "hwconfig" : "hwConfig";
	if (has_upper && has_lower)
		return json_err(&lower, e, "there is a hwConfig too");
	if (has_upper || has_lower)
		return parse_hw(has_upper ? &upper : &lower, &vm->hw, e);
	return 0;
}

int oci_parse_vm(struct oci_tree *t, const struct json_at *at, struct oci_vm *vm, struct err *e)
{
	struct json_at sub;
	int r = json_is_object(at, e);

	if (r < 0)
		return r;
	if (json_member(at, "hypervisor", &sub) &&
	    ((r = json_is_object(&sub, e)) < 0 ||
	     (r = read_path(&sub, "path", &vm->hypervisor.path, e)) < 0 ||
	     (r = read_parameters(t, &sub, &vm->hypervisor.parameters, e)) < 0))
		return r;
	if (json_member(at, "kernel", &sub) && (r = parse_kernel(t, &sub, vm, e)) < 0)
		return r;
	if (json_member(at, "image", &sub) && (r = parse_image(&sub, vm, e)) < 0)
		return r;
	return parse_either_hw(at, vm, e);
}
