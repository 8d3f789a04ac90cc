// SPDX-License-Identifier: Apache-2.0
// The log: one sink, every line names process and object. Libraries log at debug only.
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

// Where lines go. name ("vmm/ID", "bulkhead", "agent") is put before each message if not NULL; it is copied.
// fd is borrowed and must stay open; -1 leaves only what log_also_stderr says. Formats are those of runc (logrus):
//   text  time="RFC3339" level=error msg="..."
//   json  {"level":"error","msg":"...","time":"..."}
// Call once, before threads start.
void log_init(const char *name, int fd, enum log_format format, enum log_level max);

// With a log file, runc also prints errors in plain text on stderr: log_plain_stderr(true) does that.
void log_plain_stderr(bool on);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool log_enabled(enum log_level level);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

// Rate limit for lines a guest can cause: true at most `burst` times per second for each struct.
struct log_limit {
	long long window_ns;
	unsigned count;
};
bool log_limit_ok(struct log_limit *l, unsigned burst);

#endif
