# SPDX-License-Identifier: Apache-2.0
# Terminals: the caller's own, and those that are handed over a console socket, of containers and of further processes.
load ../lib/bundle

setup_file() {
  export WORK=$(mktemp -d)
  export STATE=$WORK/state BUNDLE=$WORK/bundle
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sleep 10000
  pod run --detach --bundle "$BUNDLE" shared < /dev/null > "$WORK/console" 2>&1
  cp -r "$BUNDLE" "$WORK/tty"
  bundle_edit "$WORK/tty" 'c["process"]["terminal"] = True; c["process"]["env"] = ["PATH=/bin", "PS1=# "]'
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

console() {
  python3 "$BATS_TEST_DIRNAME/../lib/console.py" "$@"
}

# refused TEXT ARG...: fails and says TEXT
refused() {
  local text=$1
  shift
  run pod "$@" < /dev/null
  [ "$status" != 0 ]
  [[ "$output" == *"$text"* ]]
}

soon() {
  for _ in $(seq 50); do
    "$@" && return 0
    sleep 0.1
  done
  return 1
}

@test "run on the caller's terminal: size, controlling terminal, /dev/console, exit code, mode restored" {
  bundle_args "$WORK/tty" sh -c 'stty size; tty; [ /dev/console -ef /dev/pts/0 ] && echo same; ls /dev/pts; exec sh'
  run console own size:91x33 expect:'33 91' expect:/dev/pts/0 expect:same expect:ptmx 'expect:# ' 'send:exit 6\n' -- \
    "$BULKHEAD" --root "$STATE" --hypervisor soft run --bundle "$WORK/tty" mine
  echo "$output"
  [ "$status" = 6 ]
}

@test "exec on the caller's terminal: size, resize, ^C, mode restored" {
  run console own size:100x40 'expect:# ' 'send:stty size\n' 'expect:40 100' size:70x20 pause:0.5 'send:stty size\n' 'expect:20 70' \
    'send:sleep 1000\n' pause:0.3 'send:\x03' 'send:echo a$((1+1))b\n' expect:a2b 'send:exit 5\n' -- \
    "$BULKHEAD" --root "$STATE" exec -t -e 'PS1=# ' shared sh
  echo "$output"
  [ "$status" = 5 ]
}

@test "a command that never ran leaves the terminal as it was" {
  run console own -- "$BULKHEAD" --root "$STATE" exec -t shared nonesuch
  [ "$status" = 255 ]
  [[ "$output" == *"executable file not found"* ]]
  run console own pause:1 'send:x' -- timeout --foreground -s TERM 1 "$BULKHEAD" --root "$STATE" exec -t shared sleep 1000
  [ "$status" = 124 ]
}

@test "exec with a console socket: one terminal, resized, with the exit code in its proxy" {
  rm -f "$WORK/sock"
  run console socket "$WORK/sock" 'expect:# ' size:120x50 pause:0.5 'send:stty size\n' 'expect:50 120' 'send:[ -t 0 -a -t 1 -a -t 2 ] && tty\n' \
    expect:/dev/pts/ 'send:exit\n' -- \
    "$BULKHEAD" --root "$STATE" exec -t -d -e 'PS1=# ' --pid-file "$WORK/pid" --console-socket "$WORK/sock" shared sh
  echo "$output"
  [ "$status" = 0 ]
  grep -qE '^[0-9]+$' "$WORK/pid"
}

@test "create with a console socket: the terminal is there at create, and nothing else is held" {
  rm -f "$WORK/sock"
  bundle_args "$WORK/tty" sh
  cat > "$WORK/both" << S
"$BULKHEAD" --root "$STATE" --hypervisor soft create --bundle "$WORK/tty" --console-socket "$WORK/sock" held | cat
"$BULKHEAD" --root "$STATE" start held
S
  run console socket "$WORK/sock" size:80x25 'expect:# ' 'send:stty size; ls -l /proc/self/fd\n' 'expect:25 80' expect:/dev/pts/0 'send:exit 3\n' -- sh "$WORK/both"
  echo "$output"
  [ "$status" = 0 ]
  soon sh -c "\"$BULKHEAD\" --root \"$STATE\" state held | grep -q stopped"
  pod delete held
}

@test "a master that is closed hangs up the process" {
  rm -f "$WORK/sock"
  run console socket "$WORK/sock" 'expect:# ' hangup -- \
    "$BULKHEAD" --root "$STATE" exec -t -d -e 'PS1=# ' --pid-file "$WORK/pid" --console-socket "$WORK/sock" shared sh
  [ "$status" = 0 ]
  gone() { ! kill -0 "$(cat "$WORK/pid")" 2> /dev/null; }
  soon gone
}

@test "a megabyte through a raw terminal compares equal" {
  head -c 500000 /dev/urandom | base64 -w 0 > "$WORK/tty/rootfs/data"
  cp "$WORK/tty/rootfs/data" "$BUNDLE/rootfs/data"
  console own -- "$BULKHEAD" --root "$STATE" exec -t shared cat /data > "$WORK/out"
  cmp "$WORK/out" "$BUNDLE/rootfs/data"
}

@test "consoleSize of a process from a file" {
  echo '{"terminal": true, "consoleSize": {"width": 99, "height": 44}, "args": ["/bin/stty", "size"], "cwd": "/"}' > "$WORK/p.json"
  rm -f "$WORK/sock"
  console socket "$WORK/sock" 'expect:44 99' -- "$BULKHEAD" --root "$STATE" exec --detach --process "$WORK/p.json" --console-socket "$WORK/sock" shared
}

@test "the rules of terminals, in runc's words" {
  bundle_args "$WORK/tty" true
  detach='cannot allocate tty if runc will detach without setting console socket'
  socket='cannot use console socket if runc will not detach or allocate tty'
  refused "$detach" create --bundle "$WORK/tty" no
  refused "$detach" run --detach --bundle "$WORK/tty" no
  refused "$detach" exec --detach --tty shared true
  refused "$socket" create --bundle "$BUNDLE" --console-socket "$WORK/x" no
  refused "$socket" run --bundle "$WORK/tty" --console-socket "$WORK/x" no
  refused "$socket" exec --tty --console-socket "$WORK/x" shared true
  refused "$socket" exec --detach --console-socket "$WORK/x" shared true
  refused 'connect /no/such/socket: no such file or directory' create --bundle "$WORK/tty" --console-socket /no/such/socket no
  refused 'connect /no/such/socket: no such file or directory' exec -t -d --console-socket /no/such/socket shared true
  refused 'longer than 107 bytes' exec -t -d --console-socket "/$(head -c 120 /dev/zero | tr '\0' x)" shared true
  run setsid "$BULKHEAD" --root "$STATE" exec -t shared true < /dev/null
  [ "$status" = 255 ]
  [[ "$output" == *"a terminal is asked for, and neither a standard stream nor /dev/tty is one"* ]]
  [ "$(pod list -q)" = shared ]
}

@test "--pidfd-socket: one descriptor, of the process that stands for the container's" {
  python3 - "$BULKHEAD" "$STATE" "$WORK/pidfd" "$WORK/pid" << 'P'
import array, os, socket, subprocess, sys
bulkhead, state, path, pidfile = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(1)
listener.settimeout(60)
subprocess.run([bulkhead, "--root", state, "exec", "-d", "--pid-file", pidfile, "--pidfd-socket", path, "shared", "sleep", "1000"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
conn, _ = listener.accept()
data, ancillary, _, _ = conn.recvmsg(64, socket.CMSG_SPACE(16))
fds = array.array("i", ancillary[0][2])
assert data and len(fds) == 1
info = open("/proc/self/fdinfo/%d" % fds[0]).read()
assert "Pid:\t%s\n" % open(pidfile).read() in info, info
import signal
signal.pidfd_send_signal(fds[0], signal.SIGKILL)
P
}
