c["process"]["user"] = {"uid": 1, "gid": 1, "additionalGids": list(range(60000))}
c["process"]["args"] = ["/probe", "groups"]
