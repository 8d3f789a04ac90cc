c["process"]["args"] = ["/bin/true"] + ["x"] * 20000
