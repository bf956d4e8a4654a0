#!/usr/bin/env bash
# Makes a part of the lab when it is absent and prints the path of its root directory.
#
#   lab.sh utils        current erofs-utils                            (4 s, 0.1 GB)
#   lab.sh containerd   and containerd, runc                           (10 s, 0.3 GB)
#   lab.sh full         and QEMU, virtiofsd, fio, the cloud kernel     (20 s, 0.6 GB)
#   lab.sh clean        removes every root that is not in use
#
# The lab is a root directory with current Debian components, for tests, benchmarks and samples on an older machine.
# Packages are fetched through the machine's own apt configuration, checked against Debian's archive key, and unpacked
# without running their install scripts. Settings, from the environment:
#
#   EROFSIFY_CACHE       cache of all scripts         (/var/cache/erofsify)
#   EROFSIFY_LAB         the lab's cache directory    ($EROFSIFY_CACHE/lab)
#   EROFSIFY_LAB_SUITE   sid or testing; the other is tried when packages of the first do not install (sid);
#                        trixie, for its containerd 1.7
#   EROFSIFY_MIRROR      Debian mirror                (the one in the machine's apt sources)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=samples/lab/debian.sh
source "$here/debian.sh"
lab=${EROFSIFY_LAB:-${EROFSIFY_CACHE:-/var/cache/erofsify}/lab}
suite=${EROFSIFY_LAB_SUITE:-sid}
parts=(utils containerd full)
work=

say() { echo "lab: $*" >&2; }
die() { say "$*"; exit 1; }

# The packages of a part and of those before it, one a line.
packages_of() {
  local part
  for part in "${parts[@]}"; do
    sed -n "s/^$part: //p" "$here/lab-packages.txt" | tr ' ' '\n'
    [[ $part != "$1" ]] || return 0
  done
}

# Where a part lives: its recipe (suite, package list) is in the name, so a changed recipe is another root.
root_of() {
  local stamp
  stamp=$({ echo "2 $suite"; packages_of "$1" | sort; } | sha256sum)
  echo "$lab/$1-${stamp:0:12}"
}

# Prints the root of the part, or of a larger one that holds it; fails when there is none.
find_root() {
  local part root seen=
  for part in "${parts[@]}"; do
    [[ $part != "$1" ]] || seen=1
    root=$(root_of "$part")
    if [[ $seen && -e $root/.complete ]]; then
      touch "$root/.complete" 2>/dev/null || true
      echo "$root"
      return 0
    fi
  done
  return 1
}

build() {
  local root other=testing try packages modules began=$SECONDS
  root=$(root_of "$1")
  mapfile -t packages < <(packages_of "$1")
  [[ $suite != testing ]] || other=sid
  [[ $suite != trixie ]] || other=
  work=$(mktemp -d "$lab/.building-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  for try in $suite $other; do
    say "fetching part $1 from Debian $try"
    if debian_fetch "$work" "$try" "${packages[@]}"; then
      debian_unpack "$work/root" "$work"/archives/*.deb
      debian_configure "$work/root"
      for modules in "$work"/root/usr/lib/modules/*; do
        [[ ! -d $modules ]] || chroot "$work/root" depmod "$(basename "$modules")"
      done
      find "$work/archives" -name '*.deb' -printf '%f\n' | sed 's/\.deb$//; s/%3a/:/' | sort >"$work/root/.complete"
      mv "$work/root" "$root"
      say "part $1 is there: $(wc -l <"$root/.complete") packages in $((SECONDS - began)) s"
      return 0
    fi
    say "Debian $try did not serve the packages:"
    tail -n 8 "$work/log" | sed 's/^/  /' >&2
  done
  die "could not fetch part $1: is the network there?"
}

# Removes what killed runs left, and roots nobody asked for in the last $1 days. The caller holds the lock;
# run-in-lab.sh holds a shared one on the root it runs in.
remove_unused() {
  local dir
  for dir in "$lab"/.building-* "$lab"/*-????????????; do
    [[ -d $dir ]] || continue
    [[ $1 == 0 || ! $(find "$dir/.complete" -mtime "-$1" 2>/dev/null) ]] || continue
    flock --exclusive --nonblock "$dir" rm -rf --one-file-system "$dir" || say "$dir is in use, kept"
  done
}

part=${1:-}
case $part in
  utils | containerd | full) find_root "$part" && exit 0 ;;
  clean) ;;
  *) die "usage: lab.sh utils|containerd|full|clean" ;;
esac
[[ $suite == sid || $suite == testing || $suite == trixie ]] ||
  die "EROFSIFY_LAB_SUITE is \"$suite\", expected sid, testing or trixie"
[[ $EUID == 0 ]] || die "needs root to make $lab"
mkdir -p "$lab"
exec {lock}>"$lab/.lock"
flock --nonblock "$lock" || { say "another run is at work in $lab, waiting"; flock "$lock"; }
if [[ $part == clean ]]; then remove_unused 0; exit 0; fi
find_root "$part" && exit 0
remove_unused 7
build "$part"
root_of "$part"
