c["mounts"] += [{"destination": "/data/" + "x" * 300, "type": "tmpfs"}]
