c["process"]["env"] += ["BIG=" + "x" * (1 << 20)]
