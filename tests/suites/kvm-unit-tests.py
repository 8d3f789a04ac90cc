#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the x86 programs of a built kvm-unit-tests tree on bulkhead-vmm and prints a table.

  kvm-unit-tests.py VMM TREE [NAME...]

A program is started by its multiboot header, told what its scripts would tell it by an environment file as the module,
and ends by port 0xf4. known.txt beside this file names what cannot pass, with the reason; anything else that fails is a
failure of the run.
"""
import os, re, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
# What needs a serial port and the exit port only, and what needs processors started by INIT and SIPI besides.
TIER_A = set("""emulator setjmp tsc syscall umip smap memory idt_test eventinj msr sieve access debug xsave pku pks realmode
    """.split())
TIER_B = set("smptest smptest3 x2apic xapic ioapic init tsc_adjust ipi".split())
SECONDS = int(os.environ.get("SUITE_SECONDS", "120"))


def stanzas(path):
    name, cur = None, {}
    for line in open(path):
        line = line.strip()
        m = re.match(r"\[(.+)\]$", line)
        if m:
            if name:
                yield name, cur
            name, cur = m.group(1), {}
        elif "=" in line and not line.startswith("#"):
            k, v = (s.strip() for s in line.split("=", 1))
            cur[k] = v.strip("'\"")
    if name:
        yield name, cur


def tier(name, s):
    if name in TIER_A or name.startswith("vmexit_") and int(s.get("smp", "1")) == 1:
        return "A"
    if name in TIER_B or name.startswith("vmexit_"):
        return "B"
    return "-"


def known():
    out = {}
    for line in open(os.path.join(HERE, "known.txt")):
        m = re.match(r"kvm-unit-tests/(\S+)\s+(\S.*)", line)
        if m:
            out[m.group(1)] = m.group(2).strip()
    return out


def run(vmm, image, s, env):
    smp = s.get("smp", "1")
    with tempfile.NamedTemporaryFile("w") as f:
        f.write("NR_CPUS=%s\nMEMSIZE=%d\nTEST_DEVICE=0\n" % (smp, 512))
        f.flush()
        args = [vmm, "--hypervisor", "soft", "--bare-metal", "--kernel", image, "--memory", "512M", "--vcpus", smp,
                "--initrd", f.name, "--cmdline", ("%s %s" % (image, s.get("test_args", s.get("extra_params", "")))).strip()]
        try:
            p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS, env=env)
            return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace").strip()
        except subprocess.TimeoutExpired as e:
            return None, (e.stdout or b"").decode(errors="replace"), ""


def verdict(rc, out, err):
    """PASS, SKIP or FAIL, and what there is to say."""
    m = re.search(r"SUMMARY: (.*)", out)
    text = m.group(1).strip() if m else ""
    failed = re.findall(r"^FAIL: (.*)", out, re.M)
    if rc is None:
        return "FAIL", "no end in %d s; %d lines FAIL" % (SECONDS, len(failed))
    if "is supported yet" in err:
        return "SKIP", err.split('msg="')[-1].rstrip('"')
    if rc == 77 or (rc == 1 and re.search(r"^SKIP", out, re.M) and not re.search(r"^PASS", out, re.M)):
        return "SKIP", (re.findall(r"^SKIP:? *(.*)", out, re.M) or ["the program says so"])[0].strip()
    # An exit of 0 by the port is 1 here, and so is any other end: only the program's own line, or its silence on
    # standard error, tells them apart.
    if rc == 1 and not err and not failed:
        return "PASS", text
    why = err.split('msg="')[-1].rstrip('"') if err else (failed[0] if failed else "exit status %d" % rc)
    return "FAIL", (text + "; " if text else "") + why


def main():
    vmm, tree, only = sys.argv[1], sys.argv[2], set(sys.argv[3:])
    reasons, count, bad = known(), {}, 0
    logs = os.environ.get("SUITE_LOGS")
    print("%-24s %-4s %-7s %6s  %s" % ("kvm-unit-tests", "tier", "result", "s", "what it says"))
    for name, s in stanzas(os.path.join(tree, "x86", "unittests.cfg")):
        if (only and name not in only) or s.get("arch") == "i386":
            continue
        image = os.path.join(tree, "x86", s.get("file", ""))
        t = tier(name, s)
        if not only and t == "-":
            continue
        begin = time.time()
        if not os.path.exists(image):
            result, says = "SKIP", "%s is not built" % s.get("file")
        else:
            rc, out, err = run(vmm, image, s, dict(os.environ))
            if logs:
                open(os.path.join(logs, name + ".log"), "w").write(out + "\n" + err + "\n")
            result, says = verdict(rc, out, err)
        if result == "FAIL" and name in reasons:
            result, says = "known", says + " -- " + reasons[name]
        bad += result == "FAIL"
        count[result] = count.get(result, 0) + 1
        print("%-24s %-4s %-7s %6.1f  %s" % (name, t, result, time.time() - begin, says), flush=True)
    print("kvm-unit-tests: " + ", ".join("%d %s" % (n, r) for r, n in sorted(count.items())))
    return 1 if bad or not count else 0


sys.exit(main())
