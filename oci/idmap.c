// SPDX-License-Identifier: Apache-2.0
// Maps of ids: as the kernel reads them, and looked up.
#include <errno.h>
#include <stdio.h>

#include "oci/oci.h"

int oci_id_maps_text(const struct oci_id_maps *m, char ret[OCI_ID_MAPS_BYTES])
{
	size_t at = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < m->n; i++) {
		int n = snprintf(ret + at, OCI_ID_MAPS_BYTES - at, "%u %u %u\n",
				 m->v[i].container_id, m->v[i].host_id, m->v[i].size);

		if (n < 0 || (size_t)n >= OCI_ID_MAPS_BYTES - at)
			return -E2BIG;
		at += (size_t)n;
	}
	return 0;
}

int oci_id_maps_host(const struct oci_id_maps *m, uint32_t id, uint32_t *ret)
{
	for (size_t i = 0; i < m->n; i++)
		if (id >= m->v[i].container_id && id - m->v[i].container_id < m->v[i].size) {
			*ret = m->v[i].host_id + (id - m->v[i].container_id);
			return 0;
		}
	return -ENOENT;
}
