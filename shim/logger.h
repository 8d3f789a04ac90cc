// SPDX-License-Identifier: Apache-2.0
// Logging programs ("binary://" streams): a program that reads a container's output.
#ifndef SHIM_LOGGER_H
#define SHIM_LOGGER_H

struct err;

// url is what follows "binary://": a path and ?k=v&k2 as its arguments. Starts it and waits until it is ready. The write ends of
// its pipes are the caller's; ret_err NULL: no second stream.
int logger_start(const char *url, const char *id, const char *ns, int *ret_err, int *ret_out,
		 struct err *e);

#endif
