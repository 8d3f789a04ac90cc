c["process"]["args"] = ["/probe", "cwd"]
c["process"]["cwd"] = "/proc/self/fd/8/../../.."
