c["process"]["user"] = {"uid": 1, "gid": 1, "additionalGids": list(range(1024))}
c["process"]["args"] = ["/probe", "groups"]
