#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the path of a Debian 13 root with the QEMU of trixie-backports (one that knows -accel mshv) and, in boot/, Debian's
# cloud kernel. Made once by mmdebstrap in the cache; no package script but QEMU's own dependencies' is run.
set -eu
cache=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead}
root=$cache/debian-trixie-qemu
if [ ! -d "$root" ]; then
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/qemu.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  cat > "$work/sources" <<EOF
deb http://deb.debian.org/debian trixie main
deb http://deb.debian.org/debian trixie-backports main
EOF
  # The kernel's package is unpacked only: its dependencies would build an initramfs that nothing here uses.
  cat > "$work/kernel.sh" <<'EOF'
set -e
image=$(chroot "$1" apt-get -s -t trixie install --no-install-recommends linux-image-cloud-amd64 |
  sed -n 's/^Inst \(linux-image-[0-9][^ ]*\) (\([^ ]*\) .*/\1=\2/p' | head -n 1)
chroot "$1" sh -c "cd /tmp && apt-get download $image"
mkdir "$1/tmp/kernel"
dpkg-deb -x "$1"/tmp/linux-image-*.deb "$1/tmp/kernel"
cp "$1"/tmp/kernel/boot/vmlinuz-* "$1/boot/vmlinuz"
cp "$1"/tmp/kernel/boot/config-* "$1/boot/config"
rm -rf "$1"/tmp/kernel "$1"/tmp/*.deb
EOF
  mmdebstrap --variant=minbase --aptopt='APT::Install-Recommends "false"' \
    --aptopt='APT::Default-Release "/trixie.*/"' \
    --include=qemu-system-x86/trixie-backports \
    --customize-hook="sh $work/kernel.sh \"\$1\"" \
    trixie "$work/root" "$work/sources" > "$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
  mv "$work/root" "$root"
fi
echo "$root"
