// SPDX-License-Identifier: Apache-2.0
// Owners: cleanup attributes for memory and descriptors. Every cleanup keeps errno and accepts NULL, -1 and half-built.
#ifndef BASE_OWN_H
#define BASE_OWN_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// char *p AUTO_FREE = NULL;   int fd AUTO_CLOSE = -1;
#define AUTO_FREE __attribute__((cleanup(own_free_)))
#define AUTO_CLOSE __attribute__((cleanup(own_close_)))

// OWN_DEFINE(struct buf *, buf_free): then "struct buf *b AUTO(buf_free) = NULL;"
#define OWN_DEFINE(type, fn)                    \
	static inline void own_##fn##_(type *p) \
	{                                       \
		int saved = errno;              \
		if (*p)                         \
			fn(*p);                 \
		errno = saved;                  \
	}
#define AUTO(fn) __attribute__((cleanup(own_##fn##_)))

static inline void own_free_(void *p)
{
	int saved = errno;
	free(*(void **)p);
	errno = saved;
}

// No close is retried: on Linux the descriptor is gone even after EINTR.
static inline void close_fd(int fd)
{
	int saved = errno;
	if (fd >= 0)
		(void)close(fd); // nothing to do about an error here
	errno = saved;
}

static inline void own_close_(int *fd)
{
	close_fd(*fd);
}

// Hands over ownership: returns the value and leaves the owner empty.
static inline int take_fd(int *fd)
{
	int v = *fd;
	*fd = -1;
	return v;
}

static inline void *take_ptr_(void *pp)
{
	void *v = *(void **)pp;
	*(void **)pp = NULL;
	return v;
}
#define take_ptr(pp) ((__typeof__(*(pp)))take_ptr_(pp))

// For interfaces without const, argv's and protobuf-c's among them, that write to nothing.
static inline char *unconst(const char *s)
{
	char *p;

	memcpy(&p, &s, sizeof(p));
	return p;
}

#endif
