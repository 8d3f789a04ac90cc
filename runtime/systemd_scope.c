// SPDX-License-Identifier: Apache-2.0
#include "runtime/systemd_scope.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/systemd_property.h"

enum { CALL_MS = 25000, JOB_MS = 30000 };

#define MANAGER \
	"org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"

OWN_DEFINE(sd_bus *, sd_bus_flush_close_unref)
OWN_DEFINE(sd_bus_message *, sd_bus_message_unref)
OWN_DEFINE(sd_bus_slot *, sd_bus_slot_unref)

// ---- names
static bool name_ok(const char *name)
{
	return *name && strlen(name) < SYSTEMD_NAME_BYTES - 32 &&
	       !name[strspn(
		       name,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\@-")];
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

// Slice a-b.slice is below a.slice.
static int slice_path(const char *slice, char *path, struct err *e)
{
	size_t len = strlen(slice), used = 0;

	path[0] = '\0';
	if (strcmp(slice, "-.slice") == 0)
		return 0;
	len -= strlen(".slice");
	if (!name_ok(slice) || !ends_with(slice, ".slice") || slice[0] == '-' ||
	    slice[len - 1] == '-' || strstr(slice, "--"))
		return err_set(e, EINVAL,
			       "linux.cgroupsPath: \"%.200s\" is not the name of a slice", slice);
	for (size_t i = 1; i <= len; i++) {
		if (i < len && slice[i] != '-')
			continue;
		if (used + i + 8 > SYSTEMD_PATH_BYTES / 2)
			return err_set(e, ENAMETOOLONG, "linux.cgroupsPath: \"%.200s\" is too long",
				       slice);
		used += (size_t)sprintf(path + used, "/%.*s.slice", (int)i, slice);
	}
	return 0;
}

int systemd_scope_names(const char *cgroups_path, const char *id, char *slice, char *unit,
			char *path, struct err *e)
{
	const char *prefix = "bulkhead", *name = id;
	char copy[SYSTEMD_NAME_BYTES];
	size_t used;
	int r;

	(void)snprintf(slice, SYSTEMD_NAME_BYTES, "system.slice"); // fits
	if (cgroups_path) {
		char *first, *second;

		if (snprintf(copy, sizeof(copy), "%s", cgroups_path) >= (int)sizeof(copy) ||
		    !(first = strchr(copy, ':')) || !(second = strchr(first + 1, ':')) ||
		    strchr(second + 1, ':'))
			return err_set(
				e, EINVAL,
				"linux.cgroupsPath: expected cgroupsPath to be of format "
				"\"slice:prefix:name\" for systemd cgroups, got \"%.200s\" instead",
				cgroups_path);
		*first = *second = '\0';
		if (copy[0])
			(void)snprintf(slice, SYSTEMD_NAME_BYTES, "%s", copy); // as long
		prefix = first + 1;
		name = second + 1;
	}
	if (!name_ok(name) || (*prefix && !name_ok(prefix)) ||
	    strlen(name) + strlen(prefix) + 8 > SYSTEMD_NAME_BYTES)
		return err_set(e, EINVAL, "linux.cgroupsPath: \"%.200s\" makes no name of a unit",
			       cgroups_path ? cgroups_path : id);
	(void)snprintf(unit, SYSTEMD_NAME_BYTES, "%s%s%s.scope", prefix, *prefix ? "-" : "",
		       name); // fits
	r = slice_path(slice, path, e);
	if (r < 0)
		return r;
	used = strlen(path);
	(void)snprintf(path + used, SYSTEMD_PATH_BYTES - used, "/%s", unit); // half was left
	return 0;
}

// ---- calls
static int open_bus(sd_bus **ret, struct err *e)
{
	int r = sd_bus_open_system(ret);

	if (r < 0)
		return err_errno(e, -r, "--systemd-cgroup: the system bus");
	r = sd_bus_set_method_call_timeout(*ret, CALL_MS * 1000ull);
	return r < 0 ? err_errno(e, -r, "--systemd-cgroup: the system bus") : 0;
}

// Sends m and frees it.
static int call(sd_bus *bus, sd_bus_message *m, const char *method, sd_bus_message **ret,
		sd_bus_error *why, struct err *e)
{
	int r = sd_bus_call(bus, m, 0, why, ret);

	sd_bus_message_unref(m);
	return r < 0 ? err_set(e, -r, "systemd refused %s: %s", method,
			       why->message ? why->message : strerror(-r))
		     : 0;
}

static int add_properties(sd_bus_message *m, const struct systemd_scope *s, struct err *e)
{
	char text[SYSTEMD_NAME_BYTES + 32];
	int r = sd_bus_message_open_container(m, 'a', "(sv)");

	(void)snprintf(text, sizeof(text), "Bulkhead pod %s", s->id); // cut is fine
	if (r < 0 || (r = sd_bus_message_append(m, "(sv)", "Description", "s", text)) < 0 ||
	    (r = sd_bus_message_append(m, "(sv)", "Slice", "s", s->slice)) < 0 ||
	    (r = sd_bus_message_append(m, "(sv)", "PIDs", "au", 1, (uint32_t)s->pid)) < 0 ||
	    (r = sd_bus_message_append(m, "(sv)", "Delegate", "b", 1)) < 0)
		return err_errno(e, -r, "StartTransientUnit");
	if (s->cpu_weight)
		r = sd_bus_message_append(m, "(sv)", "CPUWeight", "t", s->cpu_weight);
	if (r >= 0 && s->memory_max)
		r = sd_bus_message_append(m, "(sv)", "MemoryMax", "t", s->memory_max);
	if (r >= 0 && s->tasks_max)
		r = sd_bus_message_append(m, "(sv)", "TasksMax", "t", s->tasks_max);
	if (r >= 0 && !systemd_property_given(s->annotations, "DefaultDependencies"))
		r = sd_bus_message_append(m, "(sv)", "DefaultDependencies", "b", 0);
	if (r >= 0 && !systemd_property_given(s->annotations, "CollectMode"))
		r = sd_bus_message_append(m, "(sv)", "CollectMode", "s", "inactive-or-failed");
	if (r < 0)
		return err_errno(e, -r, "StartTransientUnit");
	if ((r = systemd_property_append(m, s->annotations, e)) < 0)
		return r;
	r = sd_bus_message_close_container(m);
	return r < 0 ? err_errno(e, -r, "StartTransientUnit") : 0;
}

struct job {
	char path[SYSTEMD_NAME_BYTES]; // "" until it is known
	char unit[SYSTEMD_NAME_BYTES];
	char result[64]; // "" until it has ended
};

// The signal may come before the call's answer, which names the job: then by its unit.
static int on_job_removed(sd_bus_message *m, void *arg, sd_bus_error *why)
{
	struct job *j = arg;
	const char *path, *unit, *result;
	uint32_t id;

	(void)why;
	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0 ||
	    strcmp(unit, j->unit) != 0 || (j->path[0] && strcmp(path, j->path) != 0))
		return 0;
	(void)snprintf(j->result, sizeof(j->result), "%s", result); // cut is fine
	return 0;
}

static int await_job(sd_bus *bus, struct job *j, struct err *e)
{
	int64_t end_ns = io_now_ns() + JOB_MS * 1000000ll;

	while (!j->result[0]) {
		int64_t left_ns = end_ns - io_now_ns();
		int r = sd_bus_process(bus, NULL);

		if (r == 0 && left_ns > 0)
			r = sd_bus_wait(bus, (uint64_t)left_ns / 1000);
		if (r < 0 && r != -EINTR)
			return err_errno(e, -r, "waiting for systemd to start %s", j->unit);
		if (r == 0 && left_ns <= 0)
			return err_set(e, ETIMEDOUT, "systemd did not start %s in time", j->unit);
	}
	return strcmp(j->result, "done") == 0
		       ? 0
		       : err_set(e, EIO, "systemd did not start %s: %s", j->unit, j->result);
}

static int start(sd_bus *bus, const struct systemd_scope *s, struct job *j, sd_bus_error *why,
		 struct err *e)
{
	sd_bus_message *m = NULL, *answer AUTO(sd_bus_message_unref) = NULL;
	const char *path;
	int r = sd_bus_message_new_method_call(bus, &m, MANAGER, "StartTransientUnit");

	r = r < 0 ? r : sd_bus_message_append(m, "ss", s->unit, "replace");
	if (r < 0) {
		sd_bus_message_unref(m);
		return err_errno(e, -r, "StartTransientUnit");
	}
	r = add_properties(m, s, e);
	if (r < 0) {
		sd_bus_message_unref(m);
		return r;
	}
	r = sd_bus_message_append(m, "a(sa(sv))", 0);
	if (r < 0) {
		sd_bus_message_unref(m);
		return err_errno(e, -r, "StartTransientUnit");
	}
	r = call(bus, m, "StartTransientUnit", &answer, why, e);
	if (r < 0)
		return r;
	r = sd_bus_message_read(answer, "o", &path);
	if (r < 0)
		return err_errno(e, -r, "StartTransientUnit");
	(void)snprintf(j->path, sizeof(j->path), "%s", path); // systemd's are short
	return await_job(bus, j, e);
}

int systemd_scope_start(const struct systemd_scope *s, struct err *e)
{
	sd_bus *bus AUTO(sd_bus_flush_close_unref) = NULL;
	sd_bus_slot *slot AUTO(sd_bus_slot_unref) = NULL;
	sd_bus_error why = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL;
	struct job j = { 0 };
	int r = open_bus(&bus, e);

	if (r < 0)
		return r;
	(void)snprintf(j.unit, sizeof(j.unit), "%s", s->unit); // as long
	r = sd_bus_match_signal(bus, &slot, MANAGER, "JobRemoved", on_job_removed, &j);
	// Without a subscriber systemd does not send signals.
	r = r < 0 ? r : sd_bus_message_new_method_call(bus, &m, MANAGER, "Subscribe");
	if (r < 0)
		return err_errno(e, -r, "--systemd-cgroup: the system bus");
	r = call(bus, m, "Subscribe", NULL, &why, e);
	r = r < 0 ? r : start(bus, s, &j, &why, e);
	sd_bus_error_free(&why);
	return r;
}

int systemd_scope_set_weight(const char *unit, uint64_t cpu_weight, struct err *e)
{
	sd_bus *bus AUTO(sd_bus_flush_close_unref) = NULL;
	sd_bus_error why = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL;
	int r = open_bus(&bus, e);

	if (r < 0)
		return r;
	r = sd_bus_message_new_method_call(bus, &m, MANAGER, "SetUnitProperties");
	r = r < 0 ? r
		  : sd_bus_message_append(m, "sba(sv)", unit, 1, 1, "CPUWeight", "t", cpu_weight);
	if (r < 0) {
		sd_bus_message_unref(m);
		return err_errno(e, -r, "SetUnitProperties");
	}
	r = call(bus, m, "SetUnitProperties", NULL, &why, e);
	sd_bus_error_free(&why);
	return r;
}

int systemd_scope_stop(const char *unit, struct err *e)
{
	sd_bus *bus AUTO(sd_bus_flush_close_unref) = NULL;
	sd_bus_error why = SD_BUS_ERROR_NULL;
	int r = open_bus(&bus, e);

	if (r < 0)
		return r;
	r = sd_bus_call_method(bus, MANAGER, "StopUnit", &why, NULL, "ss", unit, "replace");
	// It ends by itself with its last process.
	if (r < 0 && sd_bus_error_has_name(&why, "org.freedesktop.systemd1.NoSuchUnit"))
		r = 0;
	if (r < 0)
		(void)err_set(e, -r, "systemd refused StopUnit %s: %s", unit,
			      why.message ? why.message : strerror(-r));
	sd_bus_error_free(&why);
	// Only what has failed can be reset.
	(void)sd_bus_call_method(bus, MANAGER, "ResetFailedUnit", NULL, NULL, "s", unit);
	return r < 0 ? r : 0;
}
