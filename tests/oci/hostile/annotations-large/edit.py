c["annotations"] = {f"key.{i}": "v" * 1000 for i in range(1000)}
c["process"]["args"] = ["/probe", "nnp"]
