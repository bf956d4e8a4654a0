#!/usr/bin/env bash
# The lab's QEMU as if it were the machine's: qemu.sh [ARGUMENT…]. For EROFSIFY_QEMU.
#
# It runs on the host's files with the lab's own libraries and firmware; nothing is mounted and no root is needed once
# the lab is there. The lab cannot be removed while it runs.
set -euo pipefail

root=$("$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lab.sh" full)
exec {in_use}<"$root"
flock --shared "$in_use"
exec "$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" \
  "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
