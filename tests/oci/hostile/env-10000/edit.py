c["process"]["env"] += [f"V{i}=x" for i in range(10000)]
c["process"]["args"] = ["/probe", "envsize"]
