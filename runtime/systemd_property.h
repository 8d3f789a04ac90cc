// SPDX-License-Identifier: Apache-2.0
// Annotations org.systemd.property.NAME, as CRI-O and podman set them: values in GVariant's text form, such as
// 'inactive-or-failed', true, uint64 5000000, ['a.service'].
#ifndef RUNTIME_SYSTEMD_PROPERTY_H
#define RUNTIME_SYSTEMD_PROPERTY_H

#include <stdbool.h>
#include <systemd/sd-bus.h>

struct err;
struct oci_map;

#define SYSTEMD_PROPERTY_PREFIX "org.systemd.property."

bool systemd_property_given(const struct oci_map *annotations, const char *name);
// Appends each to the open array of (sv). One that is not in the list of those that are let through, or whose value is not
// of its type, is an error that names it.
int systemd_property_append(sd_bus_message *m, const struct oci_map *annotations, struct err *e);

#endif
