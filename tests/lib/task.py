#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One call of containerd's Task service, without any library of ttrpc: task.py SOCKET METHOD FIELD...

The fields are those of the request in order from 1: a text, a number, true or false. Prints the reply in hex, or fails
with the error's code and message."""
import socket, struct, sys


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if value in ("true", "false") or value.isdigit():
        return varint(number << 3) + varint({"true": 1, "false": 0}[value] if not value.isdigit() else int(value))
    data = value.encode()
    return varint(number << 3 | 2) + varint(len(data)) + data


def parse(data):
    """The fields of a message as (number, value)."""
    at = 0

    def number():
        nonlocal at
        v = shift = 0
        while True:
            b = data[at]
            at += 1
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v

    while at < len(data):
        key = number()
        value = number()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        yield key >> 3, value


def read(sock, n):
    data = b""
    while len(data) < n:
        part = sock.recv(n - len(data))
        if not part:
            sys.exit("connection closed")
        data += part
    return data


path, method, *values = sys.argv[1:]
payload = b"".join(field(i + 1, v) for i, v in enumerate(values))
request = field(1, "containerd.task.v2.Task") + field(2, method) + varint(3 << 3 | 2) + varint(len(payload)) + payload
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(60)
sock.connect(path)
sock.sendall(struct.pack(">IIBB", len(request), 1, 1, 0) + request)
length, stream, kind, _ = struct.unpack(">IIBB", read(sock, 10))
assert (stream, kind) == (1, 2)
reply = dict(parse(read(sock, length)))
status = dict(parse(reply.get(1, b"")))
if status.get(1):
    sys.exit("%d: %s" % (status[1], status.get(2, b"").decode()))
print(reply.get(2, b"").hex())
