#!/usr/bin/env bash
# Makes linux-source-6.1.tar.gz (220 MB, 83,731 entries, 1.36 GB of tar) when it is absent, from Debian 12's package of
# that name, and prints its path: the workload of many small files. It is kept in ${EROFSIFY_CACHE:-/var/cache/erofsify}.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=samples/lab/debian.sh
source "$here/debian.sh"
cache=${EROFSIFY_CACHE:-/var/cache/erofsify}
name=linux-source-6.1
result=$cache/$name.tar.gz

if [[ -e $result ]]; then echo "$result"; exit 0; fi
mkdir -p "$cache"
exec {lock}>"$cache/.$name.lock"
flock "$lock"
if [[ -e $result ]]; then echo "$result"; exit 0; fi
echo "linux-source: making $result" >&2
work=$(mktemp -d "$cache/.building-XXXXXX")
trap 'rm -rf "$work"' EXIT
debian_fetch "$work" bookworm "$name" || { cat "$work/log" >&2; echo "linux-source: could not fetch $name" >&2; exit 1; }
dpkg-deb --fsys-tarfile "$work/archives/$name"_*.deb | tar -x --to-stdout "./usr/src/$name.tar.xz" |
  xz --decompress --stdout | pigz -6 --no-name >"$work/tar.gz"
mv "$work/tar.gz" "$result"
echo "$result"
