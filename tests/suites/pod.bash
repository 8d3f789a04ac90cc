#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs programs of other people's suites in one pod on the software partition, and prints a table of how they ended.
#   pod.bash BIN_DIR valgrind|selftests [NAME...]
# known.txt beside this file names what cannot pass, with the reason; anything else that fails is a failure of the run.
set -euo pipefail
bin=$(cd "$1" && pwd)
suite=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/lib/bundle.bash
BATS_TEST_DIRNAME=$here BULKHEAD_BIN=$bin source "$here/../lib/bundle.bash"
bundle=$work/bundle
bundle_busybox "$bundle"
dir=$("$here/$suite.sh" ${SUITE_CACHED:+--cached})
mkdir -p "$bundle/rootfs/results"
[ -z "${SUITE_LOGS:-}" ] || mkdir -p "$SUITE_LOGS"

# In the guest: t NAME PREREQUISITE FILTER PROGRAM runs one and leaves results/NAME.{out,err,rc}. The clock is the guest's.
cat > "$bundle/rootfs/run.sh" << 'S'
t() {
  name=$1 prereq=$2 filter=$3 prog=$4
  if [ -n "$prereq" ] && ! (eval "$prereq") > /dev/null 2>&1; then
    echo prereq > "/results/$name.rc"
    return
  fi
  timeout 60 "./$prog" > "/results/$name.raw" 2> "/results/$name.err"
  echo $? > "/results/$name.rc"
  if [ -n "$filter" ]; then "./$filter" < "/results/$name.raw" > "/results/$name.out"
  else cp "/results/$name.raw" "/results/$name.out"; fi
}
S
names=("$@")
case $suite in
valgrind)
  cp -r "$dir"/none "$dir"/tests "$bundle/rootfs/"
  at=none/tests/amd64
  [ ${#names[@]} -gt 0 ] || mapfile -t names < <(cd "$dir/$at" && ls ./*.vgtest | sed 's/^..//; s/\.vgtest$//')
  echo "cd /$at" >> "$bundle/rootfs/run.sh"
  field() { sed -n "s/^$2: *//p" "$dir/$at/$1.vgtest" | head -n 1; }
  # The filters are perl, which the guest has not: they are put to the output out here.
  for n in "${names[@]}"; do echo "t $n '$(field "$n" prereq)' '' '$(basename "$(field "$n" prog)")'"; done >> "$bundle/rootfs/run.sh"
  ;;
selftests)
  mkdir "$bundle/rootfs/x86"
  [ ${#names[@]} -gt 0 ] || mapfile -t names < <(cd "$dir" && ls | grep -vx done)
  for n in "${names[@]}"; do
    cp "$dir/$n" "$bundle/rootfs/x86/"
    strip -g "$bundle/rootfs/x86/$n"
    echo "t $n '' '' $n"
  done > "$work/list"
  { echo "cd /x86"; cat "$work/list"; } >> "$bundle/rootfs/run.sh"
  ;;
esac

# What would hang the guest, and with it the rest, is said and not run.
not_run() { grep -q "^$suite/$1  *not run: " "$here/known.txt"; }
grep '^t ' "$bundle/rootfs/run.sh" | awk '{print $2}' | while read -r n; do
  ! not_run "$n" || sed -i "/^t $n /d" "$bundle/rootfs/run.sh"
done

# What the programs want of a container is a whole machine: all capabilities, nothing masked.
bundle_edit "$bundle" 'import re
caps = "CHOWN DAC_OVERRIDE FOWNER KILL SETGID SETUID SYS_RAWIO SYS_PTRACE SYS_ADMIN SYS_NICE SYS_RESOURCE IPC_LOCK"
caps = ["CAP_" + k for k in caps.split()]
c["process"]["capabilities"] = {k: caps for k in ("bounding", "effective", "permitted")}
c["process"]["noNewPrivileges"] = False
c["linux"]["maskedPaths"] = []; c["linux"]["readonlyPaths"] = []
c["root"]["readonly"] = False'
bundle_args "$bundle" /bin/sh /run.sh
begin=$(date +%s%N)
timeout -s KILL "${SUITE_SECONDS:-300}" "$BULKHEAD" --root "$work/state" --hypervisor soft run --bundle "$bundle" "suite-$suite" \
  > "$work/log" 2>&1 || { echo "the pod ended with $?" >&2; tail -n 5 "$work/log" >&2; }
"$BULKHEAD" --root "$work/state" delete --force "suite-$suite" > /dev/null 2>&1 || true # where it had to be killed
took=$((($(date +%s%N) - begin) / 1000000))

reason() { sed -n "s|^$suite/$1  *||p" "$here/known.txt"; }
# As the program's own suite has it: one of the expected outputs, whole.
expected() {
  local f
  for f in "$dir/none/tests/amd64/$1".stdout.exp*; do cmp -s "$f" "$bundle/rootfs/results/$1.out" && return 0; done
  return 1
}
# Not so here either: what this processor itself prints.
as_here() {
  (cd "$dir/$at" && timeout 60 "./$(basename "$(field "$1" prog)")" 2> /dev/null) > "$bundle/rootfs/results/$1.host" || return 1
  cmp -s "$bundle/rootfs/results/$1.host" "$bundle/rootfs/results/$1.out"
}
declare -A count=()
printf '%-26s %-7s %7s  %s\n' "$suite" result checks "what it says"
bad=0
for n in "${names[@]}"; do
  r=$bundle/rootfs/results/$n
  rc=$(cat "$r.rc" 2> /dev/null || echo none)
  [ ! -f "$r.out" ] || [ -z "${SUITE_LOGS:-}" ] || cp "$r.out" "$r.err" "$SUITE_LOGS/"
  result=FAIL says="" checks=-
  if [ "$suite" = valgrind ]; then
    filter=$(field "$n" stdout_filter)
    [ -z "$filter" ] || [ ! -f "$r.out" ] || { (cd "$dir/$at" && "./$filter" < "$r.out") > "$r.f" && mv "$r.f" "$r.out"; }
    [ ! -f "$r.out" ] || checks=$(wc -l < "$r.out")
    case $rc in
    prereq) result=skip says="the processor does not offer it" ;;
    none) says="did not run" ;;
    *) if expected "$n"; then result=pass; elif [ "$rc" = 0 ] && as_here "$n"; then
      result=pass says="as on this host's processor; the suite expects another's"
    else
      diff "$dir/$at/$n.stdout.exp" "$r.out" > "$r.diff" || true
      says="exit status $rc, $(grep -c '^[<>]' "$r.diff" || true) lines differ: $(grep -m1 '^>' "$r.diff" | cut -c1-90 || true)"
    fi ;;
    esac
  else
    [ ! -f "$r.out" ] || checks=$(grep -cE '^\[OK\]|^ok ' "$r.out" || true)
    case $rc in
    0) result=pass ;;
    4) result=skip says=$(tail -n 1 "$r.out") ;; # KSFT_SKIP
    none) says="did not run" ;;
    *)
      says="exit status $rc: $(cat "$r.out" "$r.err" | grep -m1 -E 'FAIL|SKIP|not ok' || tail -n 1 "$r.out")"
      case $says in *'[SKIP]'*) result=skip ;; esac
      ;;
    esac
  fi
  if [ $result = FAIL ] && [ -n "$(reason "$n")" ]; then result=known says="$(reason "$n")"; fi
  [ $result != FAIL ] || bad=1
  count[$result]=$((${count[$result]:-0} + 1))
  printf '%-26s %-7s %7s  %s\n' "$n" "$result" "$checks" "$says"
done
echo "$suite: ${#names[@]} programs:$(for k in "${!count[@]}"; do printf ' %s %s' "${count[$k]}" "$k"; done); the pod ran for $took ms"
exit $bad
