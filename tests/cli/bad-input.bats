# SPDX-License-Identifier: Apache-2.0
# What create and run refuse before a guest boots: one line, exit status 1, nothing left.
load helper

@test "bad ids" {
  bundle_busybox "$BUNDLE"
  for id in ../x . .. a/b 'a b' ''; do
    refused 1 "invalid container ID format" create --bundle "$BUNDLE" "$id"
    refused 1 "invalid container ID format" state "$id"
    refused 1 "invalid container ID format" delete --force "$id"
  done
  refused 1 "invalid container ID format" create --bundle "$BUNDLE" "$(head -c 1025 /dev/zero | tr '\0' a)"
  refused 1 "invalid container ID format" run --bundle "$BUNDLE" "$(head -c 300 /dev/zero | tr '\0' a)"
}

@test "unknown id" {
  for c in state start kill delete; do
    refused 1 "container does not exist" $c none
  done
  bulkhead delete --force none
}

@test "no bundle" {
  refused 1 "bulkhead create failed: chdir $WORK/none: no such file or directory" create --bundle "$WORK/none" x
  refused 1 "bulkhead run failed: chdir $WORK/none: no such file or directory" run --bundle "$WORK/none" x
}

@test "no config.json" {
  mkdir "$BUNDLE"
  refused 1 "config.json" create --bundle "$BUNDLE" x
  refused 1 "no such file or directory" run --bundle "$BUNDLE" x
}

@test "broken JSON, wrong types, unknown version: the JSON path is named" {
  bundle_busybox "$BUNDLE"
  echo '{"ociVersion": ' > "$BUNDLE/config.json"
  refused 1 "config.json: parse error" run --bundle "$BUNDLE" x
  echo '[]' > "$BUNDLE/config.json"
  refused 1 "config.json: expected an object" run --bundle "$BUNDLE" x
  rm "$BUNDLE/config.json"
  mkfifo "$BUNDLE/config.json"
  refused 1 "config.json: not a regular file" create --bundle "$BUNDLE" x
  rm "$BUNDLE/config.json"
  bundle_spec "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["process"]["user"]["uid"] = "0"'
  refused 1 "process.user.uid: expected an unsigned integer" run --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'c["process"]["user"]["uid"] = 0; c["ociVersion"] = "2.0.0"'
  refused 1 'ociVersion: unknown version "2.0.0"' create --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'c["ociVersion"] = "1.0.2"; del c["process"]["args"]'
  refused 1 "process.args: must not be empty" create --bundle "$BUNDLE" x
}

@test "what no one would honour is refused by name" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["process"]["terminal"] = True'
  refused 1 "cannot allocate tty if runc will detach without setting console socket" run --detach --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'c["process"]["terminal"] = False; c["hooks"] = {"prestart": [{"path": "true"}]}'
  refused 1 "hooks.prestart[0].path: " run --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'del c["hooks"]; c["linux"]["namespaces"][1]["path"] = "/proc/self/ns/none"'
  refused 1 'linux.namespaces: network: ' run --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'del c["linux"]["namespaces"][1]["path"]; c["annotations"] = {"a%d" % i: "x" * 1000000 for i in range(5)}'
  refused 1 'config.json: 50' create --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'del c["annotations"]; c["vm"] = {"kernel": {"path": "/k"}}'
  refused 1 'vm.kernel.path: not allowed here: "kernel.path" is not in allow.vm of' run --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'del c["vm"]'
  refused 1 "cannot use console socket" create --console-socket /x --bundle "$BUNDLE" x
  refused 1 "--preserve-fds 2" create --preserve-fds 2 --bundle "$BUNDLE" x
}

@test "root file system missing, or no directory" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["root"]["path"] = "nowhere"'
  refused 1 "nowhere: no such file or directory" create --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'c["root"]["path"] = "config.json"'
  refused 1 "not a directory" create --bundle "$BUNDLE" x
}

@test "guest kernel absent, not an ELF, of another machine" {
  bundle_busybox "$BUNDLE"
  refused 1 "$WORK/none: no such file or directory" --kernel "$WORK/none" run --bundle "$BUNDLE" x
  echo hello > "$WORK/text"
  refused 1 "not an ELF file" --kernel "$WORK/text" run --bundle "$BUNDLE" x
  head -c 200 /bin/busybox > "$WORK/arm"
  printf '\267\000' | dd of="$WORK/arm" bs=1 seek=18 conv=notrunc 2> /dev/null
  refused 1 "not an ELF file for x86-64" --kernel "$WORK/arm" run --bundle "$BUNDLE" x
}

@test "too little memory, no number" {
  bundle_busybox "$BUNDLE"
  refused 1 "too little memory" --memory 8 run --bundle "$BUNDLE" x
  refused 1 "not a number of MiB" --memory lots run --bundle "$BUNDLE" x
}

@test "hypervisors that are not there" {
  bundle_busybox "$BUNDLE"
  [ -e /dev/mshv ] || refused 1 "/dev/mshv" --hypervisor mshv run --bundle "$BUNDLE" x
  refused 1 "kvm: not supported" --hypervisor kvm run --bundle "$BUNDLE" x
  refused 1 'unknown hypervisor "xen"' --hypervisor xen run --bundle "$BUNDLE" x
}

@test "signals that do not exist" {
  refused 1 'unknown signal "NONSENSE"' kill x NONSENSE
  refused 1 'unknown signal "99"' kill x 99
}
