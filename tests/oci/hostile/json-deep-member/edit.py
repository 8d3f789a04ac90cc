deep = {}
for _ in range(900):
    deep = {"d": deep}
c["deep"] = deep
