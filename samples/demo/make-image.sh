#!/usr/bin/env bash
# Makes a real three-layer image of Debian 12 packages when it is absent, and prints the path of its OCI layout.
#
#   make-image.sh small    about 70 MB of compressed layers, for demo and tests
#   make-image.sh bench    about 400 MB, for benchmarks
#
# The image's tag is `latest`. Its layers: a minimal Debian; tools on top; and changes to both: files and directories
# removed, an opaque directory, a file capability, a fifo, a device, a name that is not UTF-8, a large and a duplicate
# file; in `small` also a sparse file, a negative time and a hard link to a lower layer's file. umoci makes the layout, so its manifest has no mediaType field.
# The layout is kept in ${EROFSIFY_CACHE:-/var/cache/erofsify}/images until the recipe changes. Needs root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=samples/lab/debian.sh
source "$here/../lab/debian.sh"
cache=${EROFSIFY_CACHE:-/var/cache/erofsify}/images
tag=latest
work=

say() { echo "image: $*" >&2; }
die() { say "$*"; exit 1; }

# The packages of a layer, one a line.
packages_of() {
  sed -n "s/^$1: //p" "$here/image-packages.txt" | tr ' ' '\n'
}

# The layout's directory: the recipe is in the name, so a changed recipe is another directory.
layout_of() {
  local stamp
  stamp=$(cat "$here/make-image.sh" "$here/image-packages.txt" "$here/../lab/debian.sh" | sha256sum)
  echo "$cache/$1-${stamp:0:12}"
}

# Archives directory $1 as layer $2, without what the overlay that collected it notes for itself.
make_layer() {
  tar --create --file "$work/$2.tar" --directory "$1" --format=posix --sort=name --numeric-owner --sparse \
    --xattrs --xattrs-include='*' --xattrs-exclude='trusted.overlay.*' .
}

# The bottom layer of variant $1: packages in $work/root.
make_bottom() {
  local packages
  mapfile -t packages < <(packages_of bottom; packages_of "bottom-$1")
  debian_fetch "$work" bookworm "${packages[@]}" || { cat "$work/log" >&2; die "could not fetch Debian packages"; }
  debian_unpack "$work/root" "$work"/archives/*.deb
  debian_configure "$work/root"
  make_layer "$work/root" bottom
  mkdir "$work/bottom-debs"
  mv "$work"/archives/*.deb "$work/bottom-debs"
}

# The middle layer: what further packages of variant $1 add; an overlay on $work/root collects it.
make_middle() {
  local packages deb
  mapfile -t packages < <(packages_of bottom; packages_of "bottom-$1"; packages_of "middle-$1")
  ln "$work"/bottom-debs/*.deb "$work/archives"
  debian_fetch "$work" bookworm "${packages[@]}" || { cat "$work/log" >&2; die "could not fetch Debian packages"; }
  for deb in "$work"/bottom-debs/*.deb; do rm -f "$work/archives/${deb##*/}"; done
  mkdir "$work/middle" "$work/overlay" "$work/merged"
  mount -t overlay -o "lowerdir=$work/root,upperdir=$work/middle,workdir=$work/overlay" image "$work/merged"
  debian_unpack "$work/merged" "$work"/archives/*.deb
  ldconfig -r "$work/merged"
}

# The top layer, by hand, from what $work/merged shows.
make_top() {
  local top=$work/top latin1=$'caf\xe9'
  mkdir -p "$top"/{etc/apt,usr/bin,usr/share/doc,srv/demo,var/lib}
  touch "$top/usr/share/doc/.wh.bash" "$top/usr/share/doc/.wh.perl" "$top/etc/.wh.issue.net" # removed
  touch "$top/etc/apt/.wh..wh..opq"                                                       # opaque
  echo "deb http://example.org/debian bookworm main" >"$top/etc/apt/sources.list"
  cp -a "$work/merged/usr/bin/ping" "$top/usr/bin/ping"
  setcap cap_net_raw+ep "$top/usr/bin/ping"
  mkfifo "$top/srv/demo/fifo"
  mknod "$top/srv/demo/null" c 1 3
  echo "not UTF-8" >"$top/srv/demo/$latin1"
  setfattr -n user.comment -v "an attribute" "$top/srv/demo/$latin1"
  openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2>/dev/null | head -c 5000000 >"$top/srv/demo/large" || true
  cp "$top/srv/demo/large" "$top/srv/demo/duplicate"
  make_layer "$top" top
}

# Adds to the top layer what some tools that the `bench` image is measured with do not read right: containerd 2.1 with
# overlayfs makes negative times 0, with erofs it (mkfs.erofs) does not know PAX sparse files, and with both it fails at a
# hard link to a file that only a lower layer has.
make_rare() {
  local top=$work/top link=$work/link
  truncate -s 64M "$top/srv/demo/sparse"
  echo "an island" | dd of="$top/srv/demo/sparse" bs=1M seek=32 conv=notrunc status=none
  touch -d "1969-12-31 23:59:58.5 UTC" "$top/srv/demo/fifo"
  make_layer "$top" top
  # The file and a link to it are archived, then the file is taken out of the archive again.
  mkdir -p "$link"/usr/{bin,lib}
  cp -a "$work/merged/usr/bin/git" "$link/usr/bin/git"
  ln "$link/usr/bin/git" "$link/usr/lib/git-hard-link"
  tar --create --file "$link.tar" --directory "$link" --format=ustar --numeric-owner \
    ./usr/bin/git ./usr/lib/git-hard-link
  tar --delete --file "$link.tar" ./usr/bin/git
  tar --concatenate --file "$work/top.tar" "$link.tar"
}

make_layout() {
  local layer
  umoci init --layout "$work/layout"
  umoci new --image "$work/layout:$tag"
  for layer in bottom middle top; do umoci raw add-layer --image "$work/layout:$tag" "$work/$layer.tar"; done
  umoci config --image "$work/layout:$tag" --config.cmd /bin/bash --config.workingdir /srv/demo \
    --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --config.env LANG=C.UTF-8
  umoci gc --layout "$work/layout"
}

clean_up() {
  ! mountpoint -q "$work/merged" || umount "$work/merged"
  rm -rf --one-file-system "$work"
}

variant=${1:-}
case $variant in small | bench) ;; *) die "usage: make-image.sh small|bench" ;; esac
layout=$(layout_of "$variant")
if [[ -e $layout ]]; then touch "$layout" 2>/dev/null || true; echo "$layout"; exit 0; fi
[[ $EUID == 0 ]] || die "needs root to make $layout"
# In a mount namespace of its own, so that a killed run leaves no mount behind.
[[ ${in_namespace:-} ]] || in_namespace=1 exec unshare --mount --propagation private -- "$0" "$variant"
mkdir -p "$cache"
exec {lock}>"$cache/.lock"
flock "$lock"
if [[ -e $layout ]]; then echo "$layout"; exit 0; fi
say "making the $variant image"
rm -rf --one-file-system "$cache"/.building-*
find "$cache" -maxdepth 1 -name '*-*' -mtime +7 -exec rm -rf --one-file-system {} + # of older recipes
work=$(mktemp -d "$cache/.building-XXXXXX")
trap clean_up EXIT
make_bottom "$variant"
make_middle "$variant"
make_top
[[ $variant == bench ]] || make_rare
umount "$work/merged"
make_layer "$work/middle" middle
make_layout
mv "$work/layout" "$layout"
say "the $variant image is there: $(du -sm "$layout" | cut -f 1) MB, $SECONDS s"
echo "$layout"
