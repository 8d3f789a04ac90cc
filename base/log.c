// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"

// The only mutable statics of the project: the log's sink and level, set once before threads start.
static struct {
	char name[128];
	int fd;
	enum log_format format;
	enum log_level max;
	bool plain_stderr;
} log_sink = { .fd = STDERR_FILENO, .max = LOG_INFO };

static const char *const level_name[] = { "error", "warning", "info", "debug" };

void log_init(const char *name, int fd, enum log_format format, enum log_level max)
{
	(void)snprintf(log_sink.name, sizeof(log_sink.name), "%s", name ? name : ""); // cut is fine
	log_sink.fd = fd;
	log_sink.format = format;
	log_sink.max = max;
}

void log_plain_stderr(bool on)
{
	log_sink.plain_stderr = on;
}

bool log_enabled(enum log_level level)
{
	return level <= log_sink.max;
}

// Appends s to out as the inside of a JSON (and logrus) quoted string.
static size_t quote(char *out, size_t room, const char *s)
{
	size_t n = 0;

	for (; *s && n + 7 < room; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = (char)c;
		} else if (c == '\n') {
			out[n++] = '\\';
			out[n++] = 'n';
		} else if (c < 0x20) {
			n += (size_t)snprintf(out + n, room - n, "\\u%04x", c);
		} else {
			out[n++] = (char)c;
		}
	}
	out[n] = '\0';
	return n;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char msg[2048], esc[4096], line[4400], when[40];
	struct timespec ts;
	struct tm tm;
	va_list ap;
	int n = 0;

	if (level > log_sink.max)
		return;
	if (log_sink.name[0])
		n = snprintf(msg, sizeof(msg), "%s: ", log_sink.name);
	va_start(ap, fmt);
	(void)vsnprintf(msg + n, sizeof(msg) - (size_t)n, fmt, ap); // a cut line is still a line
	va_end(ap);

	(void)quote(esc, sizeof(esc), msg);       // bounded by esc
	(void)clock_gettime(CLOCK_REALTIME, &ts); // cannot fail for this clock
	(void)gmtime_r(&ts.tv_sec, &tm);          // nor this for a present-day time
	(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm); // fits
	if (log_sink.format == LOG_JSON)
		n = snprintf(line, sizeof(line),
			     "{\"level\":\"%s\",\"msg\":\"%s\",\"time\":\"%s\"}\n",
			     level_name[level], esc, when);
	else
		n = snprintf(line, sizeof(line), "time=\"%s\" level=%s msg=\"%s\"\n", when,
			     level_name[level], esc);
	if (n >= (int)sizeof(line))
		n = (int)sizeof(line) - 1;
	if (log_sink.fd >= 0)
		(void)io_write_full(log_sink.fd, line,
				    (size_t)n); // where would a log failure be logged?
	if (log_sink.plain_stderr && level == LOG_ERROR)
		(void)dprintf(STDERR_FILENO, "%s\n", msg); // as above
}

bool log_limit_ok(struct log_limit *l, unsigned burst)
{
	long long now = io_now_ns();

	if (now - l->window_ns >= 1000000000ll) {
		l->window_ns = now;
		l->count = 0;
	}
	return l->count++ < burst;
}
