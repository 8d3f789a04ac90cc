# SPDX-License-Identifier: Apache-2.0
# Containers in booted pods, as a caller of the command line sees them: states, errors, pids, and what is left.
load helper

# A container that says "up" and then waits for SIGTERM
waiting_bundle() {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sh -c 'trap "exit 5" TERM; echo up; while :; do sleep 0.1; done'
}

is_up() {
  grep -qx up "$WORK/console"
}

# create_under_reaper BULKHEAD STATE BUNDLE PIDFILE: reaps what create left to us, as a caller that is a subreaper does
create_under_reaper() {
  python3 - "$@" << 'P'
import ctypes, os, subprocess, sys, json
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
bulkhead, state, bundle, pidfile = sys.argv[1:5]
base = [bulkhead, "--root", state, "--hypervisor", "soft"]
subprocess.run(base + ["create", "--bundle", bundle, "--pid-file", pidfile, "reaped"], check=True, stdin=subprocess.DEVNULL)
pid = open(pidfile).read()
assert pid.isdigit(), repr(pid)
assert json.loads(subprocess.run(base + ["state", "reaped"], check=True, stdout=subprocess.PIPE).stdout)["pid"] == int(pid)
subprocess.run(base + ["start", "reaped"], check=True)
_, status = os.waitpid(int(pid), 0)
subprocess.run(base + ["delete", "reaped"], check=True)
print("exit", os.waitstatus_to_exitcode(status))
P
}

@test "an id in use, started twice, deleted while running, killed when stopped" {
  waiting_bundle
  bulkhead create --bundle "$BUNDLE" life > "$WORK/console" 2>&1 < /dev/null
  state_is life created
  EXPECT_LIST=life
  refused 1 "container with given ID already exists" create --bundle "$BUNDLE" life
  bulkhead start life
  state_is life running
  refused 1 "cannot start an already running container" start life
  refused 1 "cannot delete container life that is not stopped: running" delete life
  bulkhead kill life 0
  refused 1 'unknown signal "NONSENSE"' kill life NONSENSE
  soon is_up
  bulkhead kill life
  soon state_is life stopped
  refused 1 "container not running" kill life
  bulkhead kill --all life
  refused 1 "cannot start a container that has stopped" start life
  bulkhead delete life
  EXPECT_LIST=
  refused 1 "container does not exist" state life
}

@test "the pid in the pid-file is the caller's to wait for, and has the exit code" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sh -c 'exit 42'
  run create_under_reaper "$BULKHEAD" "$STATE" "$BUNDLE" "$WORK/pid"
  [ "$status" = 0 ]
  [[ "$output" == *"exit 42" ]]
}

@test "a missing program is an error of create, in the words callers look for" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" /bin/nonesuch
  refused 1 'bulkhead create failed: unable to start container process: error during container init: exec: "/bin/nonesuch": stat /bin/nonesuch: no such file or directory' create --bundle "$BUNDLE" x
  bundle_args "$BUNDLE" nonesuch
  refused 1 'exec: "nonesuch": executable file not found in $PATH' run --bundle "$BUNDLE" x
  touch "$BUNDLE/rootfs/bin/plain"
  bundle_args "$BUNDLE" /bin/plain
  refused 1 "permission denied" run --bundle "$BUNDLE" x
}

@test "a created container deletes; delete --force kills a running one" {
  waiting_bundle
  bulkhead create --bundle "$BUNDLE" a > "$WORK/console" 2>&1 < /dev/null
  bulkhead delete a
  bulkhead run --detach --bundle "$BUNDLE" b > "$WORK/console" 2>&1 < /dev/null
  state_is b running
  bulkhead delete --force b
  bulkhead delete --force b
}

@test "a killed proxy takes its container along" {
  waiting_bundle
  bulkhead run --detach --pid-file "$WORK/pid" --bundle "$BUNDLE" c > "$WORK/console" 2>&1 < /dev/null
  kill -KILL "$(cat "$WORK/pid")"
  soon state_is c stopped
  bulkhead delete c
}

@test "a killed supervisor leaves a stopped container that deletes" {
  waiting_bundle
  bulkhead run --detach --bundle "$BUNDLE" d > "$WORK/console" 2>&1 < /dev/null
  kill -KILL "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["supervisor"]["pid"])' "$STATE/containers/d/state.json")"
  soon state_is d stopped
  [ "$(bulkhead list -q)" = d ]
  bulkhead delete d
}

@test "a create that is killed half-way leaves nothing" {
  waiting_bundle
  bulkhead create --bundle "$BUNDLE" e > "$WORK/console" 2>&1 < /dev/null &
  for _ in $(seq 100); do
    [ -d "$STATE/pods/e" ] && break
    sleep 0.02
  done
  for pid in $(pgrep -f -- "^$BULKHEAD --root $STATE --hypervisor soft create"); do
    kill -KILL "$pid" || true
  done
  wait || true
  [ "$(bulkhead list -q)" = "" ]
  for _ in $(seq 100); do
    [ -z "$(find "$STATE" -mindepth 2)" ] && break
    sleep 0.1
  done
  [ -z "$(find "$STATE" -mindepth 2)" ]
}

@test "volumes: read, written, and read-only ones kept so" {
  bundle_busybox "$BUNDLE"
  mkdir "$WORK/rw" "$WORK/ro"
  echo one > "$WORK/rw/file"
  echo two > "$WORK/ro/file"
  echo three > "$WORK/single"
  bundle_edit "$BUNDLE" 'c["mounts"] += [{"destination": d, "type": "bind", "source": sys.argv[3] + s, "options": o} for d, s, o in (("/rw", "/rw", ["rbind", "rw"]), ("/ro", "/ro", ["bind", "ro"]), ("/etc/single", "/single", ["bind", "ro"]))]' "$WORK"
  bundle_args "$BUNDLE" sh -c 'cat /rw/file /ro/file /etc/single; echo four > /rw/new; echo five 2> /dev/null > /ro/new || echo refused'
  [ "$(bulkhead run --bundle "$BUNDLE" f | tr '\n' ' ')" = "one two three refused " ]
  [ "$(cat "$WORK/rw/new")" = four ]
  [ ! -e "$WORK/ro/new" ]
}

@test "a socket or device as a volume is refused by name" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["mounts"].append({"destination": "/x", "source": "/dev/null", "options": ["bind"]})'
  refused 1 "/dev/null is a device of the host" run --bundle "$BUNDLE" x
}

@test "--timings prints a table on stderr" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" true
  bulkhead --timings run --bundle "$BUNDLE" g 2> "$WORK/err"
  for phase in "process start" "agent ready" "container created" started exited "torn down"; do
    grep -q "^$phase " "$WORK/err"
  done
}
