c["mounts"] += [{"destination": "/" + "x" * 5000, "type": "tmpfs"}]
