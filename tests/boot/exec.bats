# SPDX-License-Identifier: Apache-2.0
# More processes in running containers: what they see, how they end, and what they may ask for.
load ../lib/bundle

# One pod serves most tests: they only add processes to it.
setup_file() {
  export WORK=$(mktemp -d)
  export STATE=$WORK/state BUNDLE=$WORK/bundle
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["root"]["readonly"] = False; c["process"]["env"] = ["PATH=/bin", "COLOUR=blue"]; c["process"]["capabilities"] = {k: ["CAP_KILL"] for k in ("bounding", "effective", "permitted")}; c["process"]["noNewPrivileges"] = False; c["hostname"] = "inside"'
  bundle_args "$BUNDLE" sleep 10000
  cp -r "$BUNDLE" "$WORK/writer"
  bundle_args "$WORK/writer" sh -c 'head -c 300000 /dev/zero | tr "\0" x'
  pod --debug run --detach --bundle "$BUNDLE" shared < /dev/null > "$WORK/console" 2>&1
}

teardown_file() {
  pod delete --force shared
  left=$(pods_left "$STATE")
  rm -rf "$WORK"
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

pod() {
  timeout 120 "$BULKHEAD" --root "$STATE" --hypervisor soft --vcpus 2 "$@"
}

# fails_with TEXT ARG...: exec ends with 255, says TEXT in one line, and nothing on standard output
fails_with() {
  local rc=0 text=$1
  shift
  pod exec "$@" > "$WORK/out" 2> "$WORK/err" < /dev/null || rc=$?
  cat "$WORK/err"
  [ "$rc" = 255 ]
  sed -i 's/\\"/"/g' "$WORK/err"
  grep -qF -- "$text" "$WORK/err"
  [ "$(wc -l < "$WORK/err")" = 1 ]
  [ ! -s "$WORK/out" ]
}

# soon COMMAND...: true within five seconds
soon() {
  for _ in $(seq 50); do
    "$@" && return 0
    sleep 0.1
  done
  return 1
}

# inside TEXT: a process of the container has TEXT in its arguments
inside() {
  pod exec shared ps -o args | grep -v 'ps -o args' | grep -qF -- "$1"
}
not_inside() {
  ! inside "$1"
}

@test "output, standard error, input and exit code" {
  run pod exec shared sh -c 'exit 7'
  [ "$status" = 7 ]
  echo in | pod exec shared sh -c 'cat; echo err >&2' > "$WORK/out" 2> "$WORK/err"
  [ "$(cat "$WORK/out")" = in ]
  [ "$(cat "$WORK/err")" = err ]
}

@test "it sees the container's root, processes, hostname, cgroup, environment and limits of privilege" {
  pod exec shared sh -c 'hostname; cat /proc/1/cmdline | tr "\0" " "; echo; cat /proc/self/cgroup; echo $COLOUR $HOME; pwd; grep -E "CapEff|CapBnd|NoNewPrivs" /proc/self/status; for n in pid mnt uts ipc cgroup net; do [ "$(readlink /proc/1/ns/$n)" = "$(readlink /proc/self/ns/$n)" ] || echo other $n; done; ls /' > "$WORK/out"
  cat "$WORK/out"
  printf 'inside\nsleep 10000 \n0::/\nblue /\n/\nNoNewPrivs:\t0\nCapEff:\t0000000000000020\nCapBnd:\t0000000000000020\n' | sort > "$WORK/want"
  head -n 8 "$WORK/out" | sort | diff "$WORK/want" -
  ! grep -q other "$WORK/out"
  grep -qx bin "$WORK/out"
}

@test "environment, user, groups, directory, capabilities and no_new_privs by option" {
  pod exec -e COLOUR=red --env SHAPE=round -u 1000:1001 -g 5 --additional-gids 6 --cwd /tmp -c CAP_CHOWN --no-new-privs shared \
    sh -c 'echo $COLOUR $SHAPE; id -u; id -g; id -G; pwd; grep -E "CapBnd|NoNewPrivs" /proc/self/status' > "$WORK/out"
  printf 'red round\n1000\n1001\n1001 5 6\n/tmp\nCapBnd:\t0000000000000021\nNoNewPrivs:\t1\n' > "$WORK/want"
  diff "$WORK/want" "$WORK/out"
}

@test "a process from a file: all of it counts" {
  cat > "$WORK/process.json" << 'J'
{"args": ["sh", "-c", "umask; ulimit -n; echo $A; id -u; pwd; cat /proc/self/oom_score_adj; exit 9"], "cwd": "/etc", "env": ["A=b", "PATH=/bin"],
 "user": {"uid": 3, "gid": 4, "umask": 63}, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}], "oomScoreAdj": 100}
J
  run pod exec --process "$WORK/process.json" shared
  [ "$status" = 9 ]
  [ "$output" = $'0077\n77\nb\n3\n/etc\n100' ]
}

@test "a missing program, a directory, a plain file, another format: in the words callers look for" {
  fails_with 'exec failed: unable to start container process: exec: "nonesuch": executable file not found in $PATH' shared nonesuch
  fails_with 'exec failed: unable to start container process: exec: "/bin/no": stat /bin/no: no such file or directory' shared /bin/no
  fails_with 'exec: "/bin": is a directory' shared /bin
  pod exec shared sh -c 'echo text > /tmp/plain; cp /tmp/plain /tmp/odd; chmod 755 /tmp/odd'
  fails_with 'exec: "/tmp/plain": permission denied' shared /tmp/plain
  fails_with 'exec format error' shared /tmp/odd
  fails_with 'process.cwd: /no/such: no such file or directory' --cwd /no/such shared true
}

@test "bad input for every flag" {
  fails_with 'container does not exist' nobody true
  fails_with 'process args cannot be empty' shared
  fails_with '--user: "root" is not a number' -u root shared true
  fails_with '--user: "" is not a user or group number' -u 0: shared true
  fails_with 'is not a user or group number' -u 4294967295 shared true
  fails_with '--additional-gids: "x" is not a number' -g x shared true
  fails_with '--env: "NOVALUE" is not NAME=VALUE' -e NOVALUE shared true
  fails_with '--cwd: "etc" is not an absolute path' --cwd etc shared true
  fails_with '--preserve-fds 1: descriptors cannot be passed into a guest' --preserve-fds 1 shared true
  fails_with '--preserve-fds: "x" is not a number' --preserve-fds x shared true
  fails_with '--apparmor: the guest kernel has no AppArmor' --apparmor p shared true
  fails_with '--process-label: the guest kernel has no SELinux' --process-label l shared true
  fails_with '--cgroup: given more than once' --cgroup a --cgroup b shared true
  fails_with '--cgroup cpu:a: the guest has cgroup v2' --cgroup cpu:a shared true
  fails_with 'cgroup none: no such file or directory' --cgroup none shared true
  fails_with 'cgroup ../agent' --cgroup ../agent shared true
  fails_with 'no such file or directory' --process /no/such/file shared
  echo '{"args": ["true"], "cwd": "relative"}' > "$WORK/bad.json"
  fails_with 'cwd:' --process "$WORK/bad.json" shared
  echo '{' > "$WORK/bad.json"
  fails_with "$WORK/bad.json" --process "$WORK/bad.json" shared
  fails_with 'connect /no/such/socket: no such file or directory' --pidfd-socket /no/such/socket shared true
  pod exec --preserve-fds 0 shared true
  run pod exec --nonesuch shared true
  [ "$status" = 1 ]
  run pod exec
  [ "$status" = 1 ]
  [[ "$output" == *'"exec" requires a minimum of 1 argument(s)'* ]]
}

@test "detached: its own pid, a child of the caller, with the exit code; signals to it reach the process" {
  python3 - "$BULKHEAD" "$STATE" "$WORK/pid" << 'P'
import ctypes, os, signal, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
bulkhead, state, pidfile = sys.argv[1:]
def start(*args):
    read, write = os.pipe()
    subprocess.run([bulkhead, "--root", state, "exec", "--detach", "--pid-file", pidfile, "shared", *args], check=True, stdin=subprocess.DEVNULL, stdout=write)
    os.close(write)
    text = open(pidfile).read()
    assert text.isdigit(), text
    return int(text), os.fdopen(read)
pid, out = start("sh", "-c", "echo one; exit 42")
assert out.read() == "one\n"
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
pid, out = start("sh", "-c", 'trap "echo got; exit 6" USR1; echo ready; while :; do sleep 0.1; done')
assert out.readline() == "ready\n"
os.kill(pid, signal.SIGUSR1)
assert out.read() == "got\n"
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
pid, out = start("sh", "-c", "kill -9 $$")
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 137
P
}

@test "SIGKILL of the proxy kills the process, and only that" {
  pod exec --detach --pid-file "$WORK/pid" shared sleep 4321 < /dev/null > /dev/null 2>&1
  soon inside 'sleep 4321'
  kill -KILL "$(cat "$WORK/pid")"
  soon not_inside 'sleep 4321'
  pod exec shared true
}

@test "a signal in the foreground reaches the process" {
  "$BULKHEAD" --root "$STATE" exec shared sh -c 'trap "exit 8" TERM; echo up; while :; do sleep 0.1; done' > "$WORK/out" < /dev/null &
  pid=$!
  soon grep -q up "$WORK/out"
  kill -TERM $pid
  rc=0
  wait $pid || rc=$?
  [ "$rc" = 8 ]
}

@test "every signal is forwarded but those about children, pipes, urgent data and the terminal's size" {
  "$BULKHEAD" --root "$STATE" exec shared sh -c 'for s in $(seq 1 64); do case $s in 9|17|19|32|33) ;; *) trap "echo got $s" $s ;; esac; done
    trap "echo last; exit 6" TERM; echo up; while :; do sleep 0.1; done' > "$WORK/out" < /dev/null &
  pid=$!
  soon grep -q up "$WORK/out"
  kill -URG $pid
  kill -WINCH $pid
  for s in 4 5 6 7 8 11 16 29 30 31 34 50 64; do
    kill -$s $pid
    soon grep -qx "got $s" "$WORK/out"
  done
  kill -TERM $pid
  rc=0
  wait $pid || rc=$?
  cat "$WORK/out"
  [ "$rc" = 6 ]
  ! grep -qxE "got (23|28)" "$WORK/out"
}

@test "what it leaves in the background does not hold its end back, nor outlives the container" {
  pod exec shared sh -c 'sleep 5432 & echo done' > "$WORK/out"
  [ "$(cat "$WORK/out")" = done ]
  inside 'sleep 5432'
  pod exec shared sh -c 'kill $(pgrep -f "sleep 5432")' || true
}

@test "twenty at once" {
  for i in $(seq 20); do
    pod exec shared sh -c "echo $i; exit $i" > "$WORK/many.$i" &
    pids[i]=$!
  done
  for i in $(seq 20); do
    rc=0
    wait "${pids[i]}" || rc=$?
    [ "$rc" = "$i" ]
    [ "$(cat "$WORK/many.$i")" = "$i" ]
  done
}

@test "a reader that never reads blocks its own process only" {
  mkfifo "$WORK/never"
  exec 8<> "$WORK/never"
  "$BULKHEAD" --root "$STATE" exec shared cat /dev/zero > "$WORK/never" < /dev/null &
  pid=$!
  sleep 1
  [ "$(pod exec shared echo on)" = on ]
  soon inside 'cat /dev/zero'
  kill -KILL $pid
  wait $pid || true
  exec 8>&-
  soon not_inside 'cat /dev/zero'
}

# 64 MiB, or BULKHEAD_STDIO_MIB=1024 for the long one
@test "random bytes through standard input and output compare equal" {
  mib=${BULKHEAD_STDIO_MIB:-64}
  head -c "${mib}M" /dev/urandom | tee >(md5sum > "$WORK/sum.in") | timeout 3000 "$BULKHEAD" --root "$STATE" exec shared cat | md5sum > "$WORK/sum.out"
  soon [ -s "$WORK/sum.in" ]
  cmp "$WORK/sum.in" "$WORK/sum.out"
}

@test "all output is there when a fast writer has ended, and a slow reader gets it" {
  pod exec shared sh -c 'head -c 3000000 /dev/zero | tr "\0" x' | (sleep 1; wc -c) > "$WORK/out"
  [ "$(cat "$WORK/out")" = 3000000 ]
}

@test "a reader that comes late gets all of what an ended process wrote" {
  pod exec shared sh -c 'head -c 300000 /dev/zero | tr "\0" x' < /dev/null | (sleep 13; wc -c) > "$WORK/late.exec" &
  pod run --bundle "$WORK/writer" writer < /dev/null | (sleep 13; wc -c) > "$WORK/late.run"
  wait
  [ "$(cat "$WORK/late.exec")" = 300000 ]
  [ "$(cat "$WORK/late.run")" = 300000 ]
}

@test "at most three calls of the agent for a process" {
  log=$STATE/pods/shared/supervisor.log
  calls() { grep -c 'agent: ' "$log"; }
  before=$(calls)
  pod exec shared true
  deleted() { [ "$(grep 'agent: ' "$log" | tail -n +$((before + 1)) | grep -c Delete)" = 1 ]; }
  soon deleted
  [ $(($(calls) - before)) -le 3 ]
}

@test "CloseIO of the Task service ends the process's input behind what has come" {
  bundle_busybox "$WORK/reader"
  bundle_args "$WORK/reader" sh -c 'cat; echo end'
  mkfifo "$WORK/input"
  exec 7<> "$WORK/input"
  pod run --detach --bundle "$WORK/reader" reader < "$WORK/input" > "$WORK/read" 2>&1
  echo text >&7
  soon grep -qx text "$WORK/read"
  python3 "$BATS_TEST_DIRNAME/../lib/task.py" "$STATE/pods/reader/supervisor.sock" CloseIO reader '' true
  soon grep -qx end "$WORK/read"
  exec 7>&-
  pod delete --force reader
}

@test "half-closed input: what comes after its end still arrives" {
  [ "$(printf 'a\nb\n' | pod exec shared sh -c 'wc -l; sleep 0.3; echo after')" = $'2\nafter' ]
}

@test "created: exec works, and ends with the container" {
  pod create --bundle "$BUNDLE" early < /dev/null > /dev/null 2>&1
  [ "$(pod exec early echo yes)" = yes ]
  pod exec early sleep 1000 < /dev/null &
  pid=$!
  sleep 1
  pod start early
  pod kill early KILL
  rc=0
  wait $pid || rc=$?
  [ "$rc" = 137 ]
  soon sh -c "\"$BULKHEAD\" --root \"$STATE\" state early | grep -q stopped"
  fails_with 'cannot exec in a stopped container' early true
  pod delete early
}

@test "without a pid namespace of its own the others are killed too" {
  cp -r "$BUNDLE" "$WORK/host"
  bundle_edit "$WORK/host" 'c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] != "pid"]'
  pod run --detach --bundle "$WORK/host" shares < /dev/null > /dev/null 2>&1
  pod exec shares sleep 1000 < /dev/null &
  pid=$!
  sleep 1
  pod kill shares KILL
  rc=0
  wait $pid || rc=$?
  [ "$rc" = 137 ]
  pod delete --force shares
}

@test "paused: refused, or waits when asked to" {
  pod pause shared
  fails_with 'cannot exec in a paused container (use --ignore-paused to override)' shared true
  pod exec --ignore-paused shared echo late > "$WORK/late" < /dev/null &
  pid=$!
  sleep 1
  [ ! -s "$WORK/late" ]
  pod resume shared
  wait $pid
  [ "$(cat "$WORK/late")" = late ]
}

@test "--cgroup: a group below the container's own" {
  bundle_busybox "$WORK/groups"
  bundle_edit "$WORK/groups" 'c["mounts"] = [m for m in c["mounts"] if m["type"] != "cgroup"] + [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw", "nosuid", "noexec", "nodev"]}]'
  bundle_args "$WORK/groups" sh -c 'mkdir /sys/fs/cgroup/below && echo made; exec sleep 1000'
  pod run --detach --bundle "$WORK/groups" grouped < /dev/null > "$WORK/made" 2>&1
  soon grep -qx made "$WORK/made"
  [ "$(pod exec --cgroup below grouped cat /proc/self/cgroup)" = 0::/below ]
  [ "$(pod exec --cgroup /below grouped cat /proc/self/cgroup)" = 0::/below ]
  pod delete --force grouped
}
