// SPDX-License-Identifier: Apache-2.0
#include "vmm/hv/hv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/hv/mshv_sys.h"

int vmm_hypervisor_probe(enum vmm_hypervisor which, struct err *e)
{
	int fd;

	switch (which) {
	case VMM_HV_SOFT:
	case VMM_HV_AUTO:
		return 0;
	case VMM_HV_KVM:
		return err_set(e, EOPNOTSUPP, "hypervisor kvm: not supported yet");
	case VMM_HV_MSHV:
		break;
	}
	fd = open("/dev/mshv", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "hypervisor mshv: open /dev/mshv");
	(void)close(fd); // only looked
	return 0;
}

int hv_open(enum vmm_hypervisor which, const struct hv_client *client, struct hv **ret,
	    struct err *e)
{
	int r;

	if (which == VMM_HV_AUTO)
		which = access("/dev/mshv", F_OK) == 0 ? VMM_HV_MSHV : VMM_HV_SOFT;
	r = vmm_hypervisor_probe(which, e);
	if (r < 0)
		return r;
	return hv_mshv_open(which == VMM_HV_MSHV ? &mshv_sys_kernel : &mshv_sys_soft, client, ret,
			    e);
}
