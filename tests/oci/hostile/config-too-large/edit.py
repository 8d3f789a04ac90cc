c["annotations"] = {"x": "y" * (64 << 20)}
