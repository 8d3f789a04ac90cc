# SPDX-License-Identifier: Apache-2.0
# The command line as such: global options, help, what is printed where.
load helper

@test "version names program, commit, specification and libseccomp, a line each" {
  run "$BULKHEAD" --version
  [ "$status" = 0 ]
  [[ "${lines[0]}" == "bulkhead version "* ]]
  [[ "$output" =~ $'\n'"spec: 1."[0-9.]+$'\n'"libseccomp: "[0-9]+.[0-9]+.[0-9]+$ ]]
  [ "$(grep -v "^commit: [0-9a-f]" <<< "$output" | cut -d: -f1 | tail -n +2 | xargs)" = "spec libseccomp" ]
  run "$BULKHEAD" -v
  [ "$status" = 0 ]
}

@test "help lists every command, and each command helps" {
  run "$BULKHEAD" --help
  [ "$status" = 0 ]
  for c in check completion create delete events features kill list pause ps resume run spec start state update; do
    [[ "$output" == *" $c "* ]]
    "$BULKHEAD" "$c" --help | grep -q "^USAGE:"
    "$BULKHEAD" "$c" -h | grep -q "^OPTIONS:"
    "$BULKHEAD" help "$c" | grep -q "bulkhead $c"
  done
  [[ "$output" != *supervisor* ]]
}

@test "unknown command: 3" {
  run "$BULKHEAD" nonsense
  [ "$status" = 3 ]
  [[ "$output" == *"No help topic for 'nonsense'"* ]]
}

@test "unknown option, option without value" {
  run "$BULKHEAD" --nonsense list
  [ "$status" = 1 ]
  [[ "$output" == *"flag provided but not defined: -nonsense"* ]]
  run "$BULKHEAD" --root "$STATE" create --bundle
  [ "$status" = 1 ]
  [[ "$output" == *"flag needs an argument: -bundle"* ]]
}

@test "options with one dash, two dashes, and an equals sign" {
  [ "$("$BULKHEAD" -root "$STATE" list -quiet)" = "" ]
  [ "$("$BULKHEAD" --root="$STATE" list --quiet=true)" = "" ]
  [ "$("$BULKHEAD" --debug --systemd-cgroup --criu /x --rootless=auto -root="$STATE" list -q)" = "" ]
}

@test "wrong number of arguments" {
  run "$BULKHEAD" --root "$STATE" create
  [ "$status" = 1 ]
  [[ "$output" == *'"create" requires exactly 1 argument(s)'* ]]
  run "$BULKHEAD" --root "$STATE" kill
  [ "$status" = 1 ]
  [[ "$output" == *'"kill" requires a minimum of 1 argument(s)'* ]]
}

@test "list: table, json, missing root" {
  [ "$(bulkhead list --format json)" = null ]
  [[ "$(bulkhead list)" == "ID "*"OWNER" ]]
  run "$BULKHEAD" --root "$WORK/none" list
  [ "$status" = 1 ]
  [[ "$output" == *"open $WORK/none: no such file or directory"* ]]
  [ ! -e "$WORK/none" ]
}

@test "the log file has the error as JSON, stderr has it plain" {
  run "$BULKHEAD" --root "$STATE" --log "$WORK/log" --log-format json state none
  [ "$status" = 1 ]
  [ "$output" = "container does not exist" ]
  python3 - "$WORK/log" << 'P'
import json, sys
last = [json.loads(line) for line in open(sys.argv[1])][-1]
assert last["level"] == "error" and last["msg"] == "container does not exist" and last["time"].startswith("20"), last
P
  run "$BULKHEAD" --root "$STATE" state none
  [[ "$output" == 'time="'*'" level=error msg="container does not exist"' ]]
  run "$BULKHEAD" --log-format xml list
  [ "$status" = 1 ]
}

@test "spec writes a config that is valid, and does not overwrite one" {
  mkdir "$BUNDLE"
  "$BULKHEAD" spec --bundle "$BUNDLE"
  python3 -c 'import json, sys; c = json.load(open(sys.argv[1])); assert c["process"]["args"] == ["sh"]' "$BUNDLE/config.json"
  run "$BULKHEAD" spec --bundle "$BUNDLE"
  [ "$status" = 1 ]
  [[ "$output" == *"File config.json exists. Remove it first"* ]]
}

@test "features is JSON with sorted lists" {
  "$BULKHEAD" features | python3 -c '
import json, sys
f = json.load(sys.stdin)
assert f["ociVersionMin"] == "1.0.0" and f["ociVersionMax"].startswith("1.")
assert "poststop" in f["hooks"] and "user" in f["linux"]["namespaces"] and "idmap" in f["mountOptions"]
for l in (f["hooks"], f["mountOptions"], f["linux"]["namespaces"], f["linux"]["capabilities"], f["linux"]["seccomp"]["actions"]):
    assert l == sorted(l) and len(l) == len(set(l)), l'
}

@test "check has a row for each thing" {
  run "$BULKHEAD" check
  for what in "hypervisor mshv" "hypervisor soft" bulkhead-vmm bulkhead-fs "guest kernel" "guest initramfs" cgroups; do
    [[ "$output" == *"$what"* ]]
  done
  [[ "$output" == *"not hardware isolation"* ]]
}

# complete WORD...: what bash offers for the last of them
complete_words() {
  PATH=$(dirname "$BULKHEAD"):$PATH bash -c '
    . <(bulkhead completion bash)
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _bulkhead
    printf "%s\n" "${COMPREPLY[@]}" | sort | tr "\n" " "' bash "$@"
}

@test "completion: commands, options, files and ids" {
  [ "$(complete_words bulkhead cr)" = "create " ]
  [ "$(complete_words bulkhead re)" = "resume " ]
  [ "$(complete_words bulkhead --log-f)" = "--log-format " ]
  [ "$(complete_words bulkhead --root "$STATE" create --pid)" = "--pid-file --pidfd-socket " ]
  [ "$(complete_words bulkhead help sp)" = "spec " ]
  mkdir -p "$STATE/containers/"{first,second}
  for id in first second; do
    echo '{"ociVersion": "1.2.1", "id": "'$id'", "pod": "'$id'", "bundle": "/b", "rootfs": "/b/r", "created": "2026-01-01T00:00:00Z", "proxy": {"pid": 1, "startTime": 1}, "supervisor": {"pid": 1, "startTime": 1}}' > "$STATE/containers/$id/state.json"
  done
  "$BULKHEAD" --root "$STATE" list --quiet
  [ "$(complete_words bulkhead --root "$STATE" delete --force fi)" = "first " ]
  touch "$STATE/file"
  [ "$(complete_words bulkhead --root "$STATE" create --bundle "$STATE/fi")" = "$STATE/file " ]
  rm -r "$STATE/containers"
  run "$BULKHEAD" completion fish
  [ "$status" = 1 ]
  [[ "$output" == *'no such shell: '*fish* ]]
}
