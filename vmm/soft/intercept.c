// SPDX-License-Identifier: Apache-2.0
#include "vmm/soft/intercept.h"

#include "vmm/soft/soft.h"

static int table_set(struct soft_intercept *at, _Atomic unsigned *n, uint32_t key, uint32_t mask)
{
	for (unsigned i = 0; i < *n; i++)
		if (at[i].key == key) {
			atomic_store(&at[i].mask, mask);
			return HV_STATUS_SUCCESS;
		}
	if (!mask)
		return HV_STATUS_SUCCESS; // nothing to take away
	if (*n == SOFT_INTERCEPTS)
		return HV_STATUS_INSUFFICIENT_MEMORY;
	atomic_store(&at[*n].key, key);
	atomic_store(&at[*n].mask, mask);
	atomic_fetch_add(n, 1);
	return HV_STATUS_SUCCESS;
}

int soft_intercept_install(struct soft_partition *p, uint32_t type, uint32_t mask,
			   uint64_t parameter)
{
	const uint32_t rw = HV_INTERCEPT_ACCESS_MASK_READ | HV_INTERCEPT_ACCESS_MASK_WRITE;
	struct soft_intercepts *t = &p->intercepts;
	bool by_access = type == HV_INTERCEPT_TYPE_X64_IO_PORT ||
			 type == HV_INTERCEPT_TYPE_X64_MSR ||
			 type == HV_INTERCEPT_TYPE_X64_MSR_INDEX;

	if (mask & ~(by_access ? rw : (uint32_t)HV_INTERCEPT_ACCESS_MASK_EXECUTE))
		return HV_STATUS_INVALID_PARAMETER;
	switch (type) {
	case HV_INTERCEPT_TYPE_X64_IO_PORT: // every port comes to the VMM by default
		return parameter > 0xffff ? HV_STATUS_INVALID_PARAMETER : HV_STATUS_SUCCESS;
	case HV_INTERCEPT_TYPE_X64_MSR:
		atomic_store(&t->unknown_msr, mask);
		return HV_STATUS_SUCCESS;
	case HV_INTERCEPT_TYPE_X64_MSR_INDEX:
		return table_set(t->msr, &t->n_msr, (uint32_t)parameter, mask);
	case HV_INTERCEPT_TYPE_X64_CPUID:
		return table_set(t->cpuid, &t->n_cpuid, (uint32_t)parameter, mask);
	case HV_INTERCEPT_TYPE_EXCEPTION:
		if (parameter > 31)
			return HV_STATUS_INVALID_PARAMETER;
		if (mask)
			atomic_fetch_or(&t->exceptions, 1u << parameter);
		else
			atomic_fetch_and(&t->exceptions, ~(1u << parameter));
		return HV_STATUS_SUCCESS;
	default:
		return HV_STATUS_INVALID_PARAMETER;
	}
}

bool soft_intercept_msr(const struct soft_partition *p, uint32_t msr, bool write)
{
	const struct soft_intercepts *t = &p->intercepts;
	uint32_t want = write ? HV_INTERCEPT_ACCESS_MASK_WRITE : HV_INTERCEPT_ACCESS_MASK_READ;

	for (unsigned i = 0; i < t->n_msr; i++)
		if (t->msr[i].key == msr)
			return t->msr[i].mask & want;
	return false;
}

bool soft_intercept_cpuid(const struct soft_partition *p, uint32_t leaf)
{
	const struct soft_intercepts *t = &p->intercepts;

	for (unsigned i = 0; i < t->n_cpuid; i++)
		if (t->cpuid[i].key == leaf)
			return t->cpuid[i].mask;
	return false;
}
