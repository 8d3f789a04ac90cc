c["linux"]["cgroupsPath"] = "/x" * 500
c["process"]["args"] = ["/probe", "nnp"]
