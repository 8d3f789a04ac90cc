c["process"]["args"] = ["sh", "-c", "echo $#"] + ["x"] * 16000
