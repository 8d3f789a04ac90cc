// SPDX-License-Identifier: Apache-2.0
// Scattered buffers: the guest's memory as it lies in a request, copied, written and cut.
#include "vmm/fs/fs_priv.h"

#include <string.h>

size_t fs_iov_len(const struct iovec *iov, unsigned n)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

unsigned fs_iov_part(const struct iovec *iov, unsigned n, size_t off, size_t len, struct iovec *ret)
{
	unsigned got = 0;

	for (unsigned i = 0; i < n && len > 0 && got < FS_REQUEST_SEGMENTS_MAX; i++) {
		size_t take;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		take = iov[i].iov_len - off;
		if (take > len)
			take = len;
		ret[got++] = (struct iovec){ .iov_base = (char *)iov[i].iov_base + off,
					     .iov_len = take };
		len -= take;
		off = 0;
	}
	return got;
}

size_t fs_iov_read(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t take;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		take = iov[i].iov_len - off;
		if (take > len - done)
			take = len - done;
		memcpy((char *)buf + done, (const char *)iov[i].iov_base + off, take);
		done += take;
		off = 0;
	}
	return done;
}

size_t fs_iov_write(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t take;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		take = iov[i].iov_len - off;
		if (take > len - done)
			take = len - done;
		memcpy((char *)iov[i].iov_base + off, (const char *)buf + done, take);
		done += take;
		off = 0;
	}
	return done;
}
