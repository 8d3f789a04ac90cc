c["process"]["env"] += ["BIG=" + "x" * 120000]
c["process"]["args"] = ["/probe", "envsize"]
