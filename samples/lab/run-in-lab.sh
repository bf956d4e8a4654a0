#!/usr/bin/env bash
# Runs a command inside the lab: run-in-lab.sh [--part P] [--bind PATH]… [--] COMMAND [ARGUMENT…]
#
#   --part P      utils, containerd or full (the default); made when absent, see lab.sh
#   --bind PATH   a host directory or file, seen at the same path inside; may be repeated
#
# The command gets a private mount namespace whose root is the lab (by pivot_root: runc and virtiofsd need "/" to be a
# mount of its own). What it writes outside the bound paths goes to memory and ends with the last process inside, as do
# its mounts. Devices, network, processes and control groups are the host's. It starts in the current directory when
# that is bound, else in /.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
part=full
binds=()
while [[ ${1:-} == --* ]]; do
  case $1 in
    --part) part=$2; shift 2 ;;
    --bind) binds+=("$(realpath -- "$2")"); shift 2 ;;
    --) shift; break ;;
    *) echo "run-in-lab: unknown option $1" >&2; exit 2 ;;
  esac
done
[[ $# -gt 0 ]] || { echo "usage: run-in-lab.sh [--part P] [--bind PATH]… [--] COMMAND [ARGUMENT…]" >&2; exit 2; }
[[ $EUID == 0 ]] || { echo "run-in-lab: needs root" >&2; exit 1; }

root=$("$here/lab.sh" "$part")
exec {in_use}<"$root"
flock --shared "$in_use"

# In the new mount namespace: $1 is the lab's root, $2 the number of paths to bind, then those, then the command.
# shellcheck disable=SC2016 # expanded by the inner shell
enter='
  set -euo pipefail
  root=$1 count=$2 cwd=$PWD
  shift 2
  mount -t tmpfs -o mode=755 lab /mnt
  mkdir /mnt/upper /mnt/work /mnt/root
  mount -t overlay -o "lowerdir=$root,upperdir=/mnt/upper,workdir=/mnt/work" lab /mnt/root
  mount -t proc proc /mnt/root/proc
  for dir in /dev /sys; do mount --rbind "$dir" "/mnt/root$dir"; done
  for path in "${@:1:count}"; do
    if [[ -d $path ]]; then mkdir -p "/mnt/root$path"
    else mkdir -p "$(dirname "/mnt/root$path")"; touch "/mnt/root$path"; fi
    mount --rbind "$path" "/mnt/root$path"
  done
  shift "$count"
  mkdir /mnt/root/.host
  cd /mnt/root
  pivot_root . .host
  export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
  umount -l /.host
  rmdir /.host
  cd "$cwd" 2>/dev/null || cd /
  exec "$@"
'
exec unshare --mount --propagation private -- bash -c "$enter" run-in-lab "$root" "${#binds[@]}" "${binds[@]}" "$@"
