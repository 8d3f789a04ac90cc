// SPDX-License-Identifier: Apache-2.0
#include "oci/state.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/json.h"
#include "oci/oci.h"

static int print(const struct oci_state *s, const char *indent, char **ret_json, size_t *ret_len,
		 struct err *e)
{
	struct json_out o;
	int r = json_out_init(&o, indent, e);

	if (r < 0)
		return r;
	json_out_open(&o, '{');
	json_out_kstr(&o, "ociVersion", OCI_VERSION);
	json_out_kstr(&o, "id", s->id);
	json_out_kint(&o, "pid", s->pid);
	json_out_kstr(&o, "status", s->status);
	json_out_kstr(&o, "bundle", s->bundle);
	json_out_kstr(&o, "rootfs", s->rootfs);
	json_out_kstr(&o, "created", s->created);
	if (s->annotations && s->annotations->n > 0) {
		json_out_key(&o, "annotations");
		json_out_open(&o, '{');
		for (size_t i = 0; i < s->annotations->n; i++)
			json_out_kstr(&o, s->annotations->v[i].key, s->annotations->v[i].value);
		json_out_close(&o, '}');
	}
	json_out_kstr(&o, "owner", s->owner);
	json_out_close(&o, '}');
	r = json_out_take(&o, ret_json, ret_len, e);
	json_out_done(&o);
	return r;
}

int oci_state_print(const struct oci_state *s, char **ret_json, size_t *ret_len, struct err *e)
{
	return print(s, "  ", ret_json, ret_len, e);
}

int oci_state_print_compact(const struct oci_state *s, char **ret_json, size_t *ret_len,
			    struct err *e)
{
	return print(s, NULL, ret_json, ret_len, e);
}

void oci_time_print(int64_t seconds, uint32_t nanos, char *buf)
{
	time_t t = (time_t)seconds;
	struct tm tm;
	size_t n;

	if (!gmtime_r(&t, &tm) || nanos >= 1000000000u || tm.tm_year > 9999 - 1900) {
		(void)snprintf(buf, OCI_TIME_BYTES, "0001-01-01T00:00:00Z"); // fits
		return;
	}
	n = strftime(buf, OCI_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
	if (nanos) {
		n += (size_t)snprintf(buf + n, OCI_TIME_BYTES - n, ".%09u", nanos);
		while (buf[n - 1] == '0')
			n--;
	}
	buf[n++] = 'Z';
	buf[n] = '\0';
}
