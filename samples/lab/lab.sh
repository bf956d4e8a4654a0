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
#   EROFSIFY_LAB         cache directory              (/var/cache/erofsify/lab)
#   EROFSIFY_LAB_SUITE   sid or testing; the other is tried when packages of the first do not install (sid)
#   EROFSIFY_LAB_MIRROR  Debian mirror                (the one in the machine's apt sources)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab=${EROFSIFY_LAB:-/var/cache/erofsify/lab}
suite=${EROFSIFY_LAB_SUITE:-sid}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
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
  stamp=$({ echo "1 $suite"; packages_of "$1" | sort; } | sha256sum)
  echo "$lab/$1-${stamp:0:12}"
}

# Prints the root of the part, or of a larger one that holds it; fails when there is none.
find_root() {
  local part seen=
  local root
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

# Debian mirrors in the machine's apt sources.
# shellcheck disable=SC2016 # apt expands these
mirrors() {
  if [[ ${EROFSIFY_LAB_MIRROR:-} ]]; then echo "$EROFSIFY_LAB_MIRROR"; return; fi
  apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    awk '!/security/ && $1 ~ /debian/ && !seen[$1]++ { print $1 }'
}

# apt with a state of its own: nothing installed, one source.
apt_in_work() {
  apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
    -o Dir::State="$work" -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" \
    -o Dir::Cache="$work/cache" -o Debug::NoLocking=true -o APT::Sandbox::User=root \
    -o APT::Install-Recommends=false -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none \
    -o Acquire::Retries=2 -o Acquire::http::Timeout=30 "$@" </dev/null
}

# Fetches the packages of part $1 from suite $2 of mirror $3 into the work directory.
# shellcheck disable=SC2046 # one word a package
download() {
  rm -rf "$work/cache" "$work/lists"
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  : >"$work/status"
  echo "deb [signed-by=$keyring] $3 $2 main" >"$work/sources.list"
  apt_in_work update -o APT::Update::Error-Mode=any &&
    apt_in_work install -y --download-only $(packages_of "$1")
}

# Unpacks what was fetched into $1. base-files goes first: it makes /bin and its like links into /usr.
unpack() {
  local deb
  mkdir -p "$1"
  for deb in "$work"/cache/archives/base-files_*.deb "$work"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" |
      tar -x -C "$1" --keep-directory-symlink --exclude='./usr/share/man' --exclude='./usr/share/locale'
  done
  find "$work/cache/archives" -name '*.deb' -printf '%f\n' | sed 's/\.deb$//; s/%3a/:/' | sort >"$1/.complete"
}

# What the packages' install scripts would have set up, as far as the lab needs it.
configure() {
  local modules
  cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"
  cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"
  echo "127.0.0.1 localhost" >"$1/etc/hosts"
  ldconfig -r "$1"
  for modules in "$1"/usr/lib/modules/*; do
    [[ ! -d $modules ]] || chroot "$1" depmod "$(basename "$modules")"
  done
}

build() {
  local root other=testing try mirror began=$SECONDS
  root=$(root_of "$1")
  [[ $suite != testing ]] || other=sid
  [[ -r $keyring ]] || die "$keyring is missing: install debian-archive-keyring"
  [[ $(mirrors) ]] || die "no Debian mirror in the machine's apt sources; set EROFSIFY_LAB_MIRROR"
  work=$(mktemp -d "$lab/.building-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  for try in "$suite" "$other"; do
    for mirror in $(mirrors); do
      say "fetching part $1 from Debian $try"
      if download "$1" "$try" "$mirror" 2>"$work/log"; then
        unpack "$work/root"
        configure "$work/root"
        mv "$work/root" "$root"
        say "part $1 is there: $(wc -l <"$root/.complete") packages in $((SECONDS - began)) s"
        return 0
      fi
      say "Debian $try did not serve the packages:"
      tail -n 8 "$work/log" | sed 's/^/  /' >&2
    done
  done
  die "could not fetch part $1: is the network there? ($(mirrors | tr '\n' ' '))"
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
[[ $suite == sid || $suite == testing ]] || die "EROFSIFY_LAB_SUITE is \"$suite\", expected sid or testing"
[[ $EUID == 0 ]] || die "needs root to make $lab"
mkdir -p "$lab"
exec {lock}>"$lab/.lock"
flock --nonblock "$lock" || { say "another run is at work in $lab, waiting"; flock "$lock"; }
if [[ $part == clean ]]; then remove_unused 0; exit 0; fi
find_root "$part" && exit 0
remove_unused 7
build "$part"
root_of "$part"
