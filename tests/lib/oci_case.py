# SPDX-License-Identifier: Apache-2.0
"""A case of tests/oci: its directory, the bundle that is made from it, and what is expected of its run."""

import copy
import difflib
import json
import os
import shutil
import subprocess

COMMANDS = ("sh", "cat", "ls", "sleep", "true", "id", "echo", "touch", "kill")


def merge(target, patch):
    """RFC 7386, and one thing more: a list under "name+" goes to the end of the list under "name"."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif key.endswith("+"):
            target[key[:-1]] = target.get(key[:-1], []) + value
        else:
            target[key] = merge(target.get(key), value)
    return target


class Case:
    def __init__(self, top, directory):
        self.top = top
        self.directory = directory
        self.name = os.path.relpath(directory, top)
        self.id = self.name.replace("/", ".")  # of its container

    def path(self, name):
        return os.path.join(self.directory, name)

    def has(self, name):
        return os.path.exists(self.path(name))

    def text(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def words(self, name):
        return self.text(name).split() if self.has(name) else []

    def config(self, base):
        """The base's config.json with this case's changes: config.json is a patch; edit.py, for what is too large to be
        written down, gets it as c."""
        config = copy.deepcopy(base)
        if self.has("config.json"):
            config = merge(config, json.loads(self.text("config.json")))
        if self.has("edit.py"):
            exec(compile(self.text("edit.py"), self.path("edit.py"), "exec"), {"c": config})
        return config

    def make_bundle(self, bundle, base, probe):
        """The bundle; setup, a shell script, runs in it before the container. Gives the config."""
        rootfs = os.path.join(bundle, "rootfs")
        for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "data"):
            os.makedirs(os.path.join(rootfs, name))
        shutil.copy(probe, os.path.join(rootfs, "probe"))
        shutil.copy("/bin/busybox", os.path.join(rootfs, "bin/busybox"))
        for name in COMMANDS:
            os.symlink("busybox", os.path.join(rootfs, "bin", name))
        with open(os.path.join(rootfs, "etc/passwd"), "w", encoding="ascii") as f:
            f.write("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        config = self.config(base)
        with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f)
        if self.has("setup"):
            self.script("setup", bundle)
        return config

    def script(self, name, bundle):
        """setup and host run in the bundle, with umask 022 whatever the caller's."""
        done = subprocess.run(["sh", "-euc", "umask 022; . " + os.path.abspath(self.path(name))], cwd=bundle,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        out = done.stdout.decode(errors="replace")
        if done.returncode:
            out += f"{name} failed: {done.returncode} {done.stderr.decode(errors='replace')}\n"
            if name == "setup":
                raise RuntimeError(out)
        return out

    def verdict(self, result, bundle, ours, accept):
        """None if all is as expected, else the lines that say what is not."""
        if self.has("err"):
            return self.refused(result, self.text("err").strip(), bundle, ours)
        seen = result.out
        if result.code:
            seen += f"exit {result.code}\n"
        if self.has("host"):
            seen += self.script("host", bundle)
        if accept and not self.has("out"):
            with open(self.path("out"), "w", encoding="utf-8") as f:
                f.write(seen)
        want = self.text("out") if self.has("out") else "(no file out)"
        if seen == want:
            return None
        lines = difflib.unified_diff(want.splitlines(), seen.splitlines(), "expected", "seen", lineterm="", n=1)
        return list(lines) + result.err.splitlines()[:10]

    def refused(self, result, text, bundle, ours):
        """Other runtimes have other words: of them, only that they refuse. What host then prints is a problem."""
        problems = []
        if result.code == 0:
            problems.append("succeeded")
        if result.out:
            problems.append("ran: " + result.out[:200])
        if ours and text not in result.err.replace('\\"', '"'):
            problems.append(f"does not say: {text}")
        if self.has("host"):
            problems += self.script("host", bundle).splitlines()
        return problems + result.err.splitlines()[:10] if problems else None


def find_cases(top):
    return [Case(top, d) for d, _, files in sorted(os.walk(top)) if "config.json" in files or "edit.py" in files]
