c["process"]["args"] = ["/bin/true"] + ["x" * 100000] * 40
