// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -code;
	e->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap); // a cut message is still a message
	va_end(ap);
	return -code;
}

// As strerror, but beginning small, as the texts that callers of OCI runtimes look for do ("no such file or directory").
static void append_errno(char *buf, size_t room, int code)
{
	int n = snprintf(buf, room, ": %s", strerror(code));

	if (n > 4 && (size_t)n < room && buf[2] >= 'A' && buf[2] <= 'Z' && buf[3] >= 'a' &&
	    buf[3] <= 'z')
		buf[2] = (char)(buf[2] - 'A' + 'a');
}

int err_errno(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!e)
		return -code;
	e->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap); // as above
	va_end(ap);
	n = strlen(e->msg);
	append_errno(e->msg + n, sizeof(e->msg) - n, code);
	return -code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char old[ERR_MSG_BYTES];
	va_list ap;
	size_t n;

	if (!e)
		return -EIO;
	memcpy(old, e->msg, sizeof(old));
	va_start(ap, fmt);
	(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap); // a cut message is still a message
	va_end(ap);
	n = strlen(e->msg);
	(void)snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", old); // as above
	return -e->code;
}
