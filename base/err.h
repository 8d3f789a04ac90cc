// SPDX-License-Identifier: Apache-2.0
// Errors: a negative errno as the return value, and a sentence for a person in a caller-owned struct.
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define MUST_CHECK __attribute__((warn_unused_result))

enum { ERR_MSG_BYTES = 1024 };

// Caller-owned, fixed size, no allocation. Set on every failing path, untouched on success.
struct err {
	int code; // positive errno
	char msg[ERR_MSG_BYTES];
};

// Sets *e (which may be NULL) and returns -code. code is a positive errno.
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// As err_set, and appends ": " and the text of code (strerror).
int err_errno(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// Puts "what I was doing: " before the message that is there. Returns -e->code, or -EIO if e is NULL.
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
