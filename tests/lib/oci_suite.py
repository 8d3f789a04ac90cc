# SPDX-License-Identifier: Apache-2.0
"""The conformance suite of tests/oci: a TAP line per case. See tests/oci/run.sh."""

import concurrent.futures
import fnmatch
import json
import os
import shutil
import sys
import tempfile

import oci_case
import oci_runtime


def read_differs(path):
    """differs/RUNTIME.txt: "case: reason" (or a pattern of cases) for each case whose expectation is not that runtime's. A reason that begins with
    (host) is the machine's: the case may differ or not."""
    reasons = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.strip() and not line.startswith("#"):
                    name, reason = line.split(":", 1)
                    reasons[name] = reason.strip()
    return reasons


class Suite:
    def __init__(self, top, work):
        self.top = top
        self.work = work
        self.runtime = oci_runtime.choose()
        self.accept = bool(os.environ.get("ACCEPT"))
        self.probe = os.environ.get("OCI_PROBE") or f"build/{os.environ.get('MODE') or 'dev'}/tests/oci/probe"
        with open(os.path.join(top, "base.json"), encoding="utf-8") as f:
            self.base = json.load(f)
        self.differs = {} if self.runtime.ours else read_differs(f"{top}/differs/{self.runtime.name}.txt")

    def cases(self):
        patterns = os.environ.get("CASES", "").split()
        return [case for case in oci_case.find_cases(self.top)
                if not patterns or any(fnmatch.fnmatch(case.name, p) for p in patterns)]

    def run(self, number, case):
        """The case's verdict, which is None when all is well."""
        work = os.path.join(self.work, str(number))
        bundle, state = os.path.join(work, "b"), os.path.join(work, "s")
        try:
            config = case.make_bundle(bundle, self.base, self.probe)
            result = self.runtime.run(case, bundle, config, state)
            verdict = case.verdict(result, bundle, self.runtime.ours, self.accept)
            left = oci_runtime.left_behind(state)
            if left:
                verdict = (verdict or []) + ["left behind: " + what for what in left]
        except Exception as e:  # a broken case fails alone
            verdict = [f"{type(e).__name__}: {e}"]
        shutil.rmtree(work, ignore_errors=True)
        return verdict

    def judge(self, case, verdict):
        """A listed difference is as good as none; one that is no more has to be struck off the list."""
        reason = next((r for name, r in self.differs.items() if fnmatch.fnmatch(case.name, name)), None)
        if reason is None or reason.startswith("(host)") and not verdict:
            return verdict, ""
        if verdict:
            return None, " # differs: " + reason
        return ["listed as different, but is not: " + reason], ""


def main():
    cases_failed = 0
    work = tempfile.mkdtemp(prefix="oci.")
    suite = Suite(sys.argv[1], work)
    cases = suite.cases()
    print(f"1..{len(cases)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS") or 2)) as pool:
        verdicts = pool.map(suite.run, range(len(cases)), cases)
        for number, (case, verdict) in enumerate(zip(cases, verdicts), 1):
            verdict, note = suite.judge(case, verdict)
            print(f"{'not ok' if verdict else 'ok'} {number} - {case.name}{note}", flush=True)
            for line in verdict or []:
                print("# " + line)
            cases_failed += bool(verdict)
    shutil.rmtree(work, ignore_errors=True)
    return 1 if cases_failed else 0


if __name__ == "__main__":
    sys.exit(main())
