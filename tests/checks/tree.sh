# SPDX-License-Identifier: Apache-2.0
# Checks of the tree itself, as TAP: headers, layers, format, the kernel's configuration, library warnings.
n=0
check() {
  n=$((n + 1))
  name=$1
  shift
  if out=$("$@" 2>&1); then echo "ok $n - $name"; else
    echo "not ok $n - $name"
    printf '%s\n' "$out" | head -n 60 | sed 's/^/# /'
  fi
}
# shellcheck disable=SC2086
check "each header compiles alone and each source is in form" tests/check-headers.sh ${CHECK_CC:-gcc}
check "modules include only what they may" tests/check-layers.sh "${O:-build/dev}"
check "clang-format" tests/check-format.sh
check "kernel fragments and merged configuration" sh -c \
  'guest-kernel-config/check-config.sh "$(guest-kernel-config/build.sh --config)"'
check "shell scripts parse" sh -c 'for f in $(git ls-files "*.sh" 2>/dev/null || find . -name "*.sh"); do
  case $(head -n 1 "$f") in *bash*) bash -n "$f" ;; *) sh -n "$f" ;; esac || exit 1; done'
check "what docs/conformance.md names is there" sh -c 'set -f; for p in $(grep -oE "\`(process|mounts|linux|resources|devices|seccomp|top|hostile)/[a-z0-9*-]+\`" docs/conformance.md | tr -d "\`"); do
  set +f; ls -d tests/oci/$p > /dev/null || exit 1; set -f; done'
echo "1..$n"
