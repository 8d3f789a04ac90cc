c["process"]["env"] += ["BIG=" + "x" * 1000000]
c["process"]["args"] = ["/probe", "envsize"]
