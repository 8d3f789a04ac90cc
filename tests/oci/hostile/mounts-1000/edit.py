c["mounts"] += [{"destination": "/data/x", "type": "tmpfs", "source": "tmpfs", "options": ["size=4k"]} for _ in range(1000)]
c["process"]["args"] = ["/probe", "mounts:/data"]
