c["mounts"] += [{"destination": f"/data/{i}", "type": "tmpfs", "source": "tmpfs"} for i in range(10000)]
