# SPDX-License-Identifier: Apache-2.0
# Hooks: where they run, what they are told, and what their failure does.
load ../lib/bundle

setup() {
  WORK=$(mktemp -d)
  STATE=$WORK/state
  BUNDLE=$WORK/bundle
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["root"]["readonly"] = False'
}

teardown() {
  for id in $(pod list --quiet); do pod delete --force "$id"; done
  left=$(pods_left "$STATE")
  rm -rf "$WORK"
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

pod() {
  timeout 300 "$BULKHEAD" --root "$STATE" --hypervisor soft "$@"
}

# Waits, a minute at most, until the command fails.
until_not() {
  for i in $(seq 60); do
    "$@" > /dev/null 2>&1 || return 0
    sleep 1
  done
  false
}

# hook KIND SCRIPT [TIMEOUT]: adds a hook that runs SCRIPT by sh
hook() {
  bundle_edit "$BUNDLE" 'h = {"path": "/bin/sh", "args": ["sh", "-c", sys.argv[4]], "env": ["PATH=/bin:/usr/bin", "NAME=value"]}
if len(sys.argv) > 5: h["timeout"] = int(sys.argv[5])
c.setdefault("hooks", {}).setdefault(sys.argv[3], []).append(h)' "$@"
}

@test "startContainer: in the container, before its program, with the state on standard input" {
  bundle_edit "$BUNDLE" 'c["annotations"] = {"colour": "blue"}; c["hostname"] = "inside"'
  hook startContainer 'cat > /state; echo "$(tr "\\0" " " < /proc/$$/environ)$(hostname)" > /first; cat /proc/1/cmdline | tr "\0" " " > /before'
  hook startContainer 'cat /first > /second'
  bundle_args "$BUNDLE" cat /second
  pod create --bundle "$BUNDLE" one > /dev/null 2>&1 < /dev/null
  [ ! -e "$BUNDLE/rootfs/state" ]
  pod start one
  [ "$(cat "$BUNDLE/rootfs/second")" = "PATH=/bin:/usr/bin NAME=value inside" ]
  ! grep -q "cat /second" "$BUNDLE/rootfs/before"
  python3 - "$BUNDLE" << 'P'
import json, os, sys
s = json.load(open(sys.argv[1] + "/rootfs/state"))
assert s["id"] == "one" and s["status"] == "created" and s["pid"] == 1, s
assert s["bundle"] == os.path.realpath(sys.argv[1]) and s["annotations"] == {"colour": "blue"} and s["ociVersion"][0] == "1", s
P
}

@test "startContainer: a hook that fails, or takes too long, is an error of start, and the container stops" {
  hook startContainer 'echo no luck >&2; exit 3'
  bundle_args "$BUNDLE" touch /ran
  run pod run --bundle "$BUNDLE" one
  echo "$output"
  [ "$status" = 1 ]
  [[ "$output" == *"startContainer hook #0: /bin/sh: exit status 3: no luck"* ]]
  bundle_edit "$BUNDLE" 'del c["hooks"]'
  hook startContainer 'sleep 1000' 1
  pod create --bundle "$BUNDLE" two > /dev/null 2>&1 < /dev/null
  run pod start two
  echo "$output"
  [ "$status" = 1 ]
  [[ "$output" == *"startContainer hook #0: /bin/sh: "*"timed out"* ]]
  for i in $(seq 60); do
    [[ "$(pod state two)" == *'"status": "stopped"'* ]] && break
    sleep 1
  done
  [[ "$(pod state two)" == *'"status": "stopped"'* ]]
  pod delete two
  [ ! -e "$BUNDLE/rootfs/ran" ]
}

# note KIND NAME [EXIT]: a hook of the host that writes down NAME, the state's members, and whose network namespace it is in
note() {
  bundle_edit "$BUNDLE" 'h = {"path": "/usr/bin/python3", "args": ["python3", sys.argv[3], *sys.argv[5:]], "env": ["WORK=" + sys.argv[6]]}
c.setdefault("hooks", {}).setdefault(sys.argv[4], []).append(h)' "$WORK/hook.py" "$1" "$2" "$WORK" "${3:-0}"
}

write_hook() {
  cat > "$WORK/hook.py" << 'P'
import json, os, sys
s = json.load(sys.stdin)
net = lambda pid: os.readlink("/proc/%s/ns/net" % pid)
where = "container" if s.get("pid") and net("self") == net(s["pid"]) else "host"
with open(os.environ["WORK"] + "/notes", "a") as f:
    print(sys.argv[1], s["status"], s["id"], bool(s.get("pid")), where, open("/proc/self/environ").read().count("\0"), s["bundle"] == os.getcwd(), file=f)
if sys.argv[3] != "0":
    print("it did not work", file=sys.stderr)
    sys.exit(int(sys.argv[3]))
P
}

all_notes() {
  for kind in prestart createRuntime createContainer poststart poststop; do note "$kind" "$kind"; done
}

@test "hooks of the host: when they run, where, and what they are told" {
  write_hook
  all_notes
  note poststop second
  bundle_edit "$BUNDLE" 'assert {"type": "network"} in c["linux"]["namespaces"]'
  bundle_args "$BUNDLE" true
  pod create --bundle "$BUNDLE" one > /dev/null 2>&1 < /dev/null
  printf '%s\n' "prestart creating one True host 1 True" "createRuntime creating one True host 1 True" \
    "createContainer creating one True container 1 True" > "$WORK/want"
  diff "$WORK/want" "$WORK/notes"
  pod start one
  printf '%s\n' "poststart running one True host 1 True" >> "$WORK/want"
  diff "$WORK/want" "$WORK/notes"
  pod delete --force one
  printf '%s\n' "poststop stopped one False host 1 True" "second stopped one False host 1 True" >> "$WORK/want"
  diff "$WORK/want" "$WORK/notes"
  # The same by run, which is itself the process of the container's namespaces.
  rm "$WORK/notes"
  pod run --bundle "$BUNDLE" one
  diff "$WORK/want" "$WORK/notes"
}

@test "a hook of create that fails undoes all, and poststop hooks run" {
  write_hook
  note createRuntime bad 3
  note poststop after
  bundle_args "$BUNDLE" true
  run pod create --bundle "$BUNDLE" one
  echo "$output"
  [ "$status" = 1 ]
  [[ "$output" == *"error running createRuntime hook #0: /usr/bin/python3: exit status 3, stdout: , stderr: it did not work"* ]]
  [ -z "$(pod list --quiet)" ]
  printf '%s\n' "bad creating one True host 1 True" "after stopped one False host 1 True" | diff - "$WORK/notes"
  run pod run --bundle "$BUNDLE" one
  [ "$status" = 1 ]
  [ "$(wc -l < "$WORK/notes")" = 4 ]
}

@test "a poststart hook that fails stops the container; one of poststop is told and nothing else" {
  write_hook
  note poststart bad 4
  note poststop worse 5
  note poststop after
  bundle_args "$BUNDLE" sleep 1000
  pod create --bundle "$BUNDLE" one > /dev/null 2>&1 < /dev/null
  run pod start one
  echo "$output"
  [ "$status" = 1 ]
  [[ "$output" == *"error running poststart hook #0"*"it did not work"* ]]
  [[ "$(pod state one)" == *'"status": "stopped"'* ]]
  run pod delete one
  echo "$output"
  [ "$status" = 0 ]
  [[ "$output" == *"error running poststop hook #0"* ]]
  printf '%s\n' "bad running one True host 1 True" "worse stopped one False host 1 True" "after stopped one False host 1 True" | diff - "$WORK/notes"
}

@test "a hook that takes longer than its timeout is killed, with what it has started" {
  bundle_edit "$BUNDLE" 'c["hooks"] = {"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 98765 & wait"], "env": ["PATH=/bin:/usr/bin"], "timeout": 1}]}'
  bundle_args "$BUNDLE" true
  run pod create --bundle "$BUNDLE" one
  echo "$output"
  [ "$status" = 1 ]
  [[ "$output" == *"prestart hook #0: /bin/sh: hook ran past its timeout of 1 s"* ]]
  until_not pgrep -f 'sleep 9876[5]'
}

@test "a hook may print without bound: it does not block, and the error has the end of it" {
  hook prestart 'head -c 50000000 /dev/zero | tr "\\0" x; echo; echo the end; head -c 50000000 /dev/zero | tr "\\0" y >&2; echo bad >&2; exit 7'
  hook poststop 'yes & echo $! > '"$WORK/yes"'; head -c 1000000 /dev/zero'
  bundle_args "$BUNDLE" true
  run pod create --bundle "$BUNDLE" one
  echo "$output"
  [ "$status" = 1 ]
  [[ "$output" == *"prestart hook #0: /bin/sh: exit status 7, stdout: xxxx"*"the end, stderr: yyyy"*"bad"* ]]
  # What poststop has left in the background ends at its closed pipe.
  until_not kill -0 "$(cat "$WORK/yes")"
}

@test "a signal in the time of a hook ends it, undoes what was made, and poststop hooks run" {
  hook createRuntime 'echo $$ > '"$WORK/hook"'; sleep 87654 & wait'
  hook poststop 'echo stopped >> '"$WORK/notes"
  bundle_args "$BUNDLE" true
  for how in "create TERM 15" "run INT 2" "run TERM 15"; do
    set -- $how
    rm -f "$WORK/hook" "$WORK/notes"
    # A background job of a shell ignores INT: not by env.
    env --default-signal=INT "$BULKHEAD" --root "$STATE" --hypervisor soft "$1" --bundle "$BUNDLE" one > "$WORK/out" 2>&1 < /dev/null &
    pid=$!
    for i in $(seq 600); do
      [ ! -s "$WORK/hook" ] || break
      sleep 0.1
    done
    kill "-$2" $pid
    rc=0
    wait $pid || rc=$?
    cat "$WORK/out"
    [ "$rc" = 1 ]
    grep -q "createRuntime hook #0: /bin/sh: interrupted by signal $3" "$WORK/out"
    [ "$(cat "$WORK/notes")" = stopped ]
    ! kill -0 "$(cat "$WORK/hook")"
    [ -z "$(pod list --quiet)" ]
  done
  until_not pgrep -f 'sleep 8765[4]'
}

@test "delete --force of a container whose state is damaged says that poststop hooks are not run" {
  hook poststop 'echo stopped >> '"$WORK/notes"
  bundle_args "$BUNDLE" true
  pod create --bundle "$BUNDLE" one > /dev/null 2>&1 < /dev/null
  echo '{' > "$STATE/containers/one/state.json"
  run pod delete one
  [ "$status" = 1 ]
  run pod delete --force one
  echo "$output"
  [ "$status" = 0 ]
  [[ "$output" == *"container one: its state is damaged: its poststop hooks are not run"* ]]
  [ ! -e "$WORK/notes" ]
  [ -z "$(pod list --quiet)" ]
}

@test "a hook that is not there is an error of create that names it" {
  bundle_edit "$BUNDLE" 'c["hooks"] = {"createContainer": [{"path": "/no/such/hook"}]}'
  run pod create --bundle "$BUNDLE" one
  [ "$status" = 1 ]
  [[ "$output" == *"createContainer hook #0: /no/such/hook"*"No such file or directory"* ]]
}
