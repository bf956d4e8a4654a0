#!/usr/bin/env bash
# Makes the image of the guests that try volumes out when it is absent, and prints its path: one tar with a small Debian 12,
# git, sqlite3, gcc with libc's headers, and fio. It is kept in ${EROFSIFY_CACHE:-/var/cache/erofsify}/images until the recipe
# changes. Needs root, for the owners of the files in it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=samples/lab/debian.sh
source "$here/debian.sh"
cache=${EROFSIFY_CACHE:-/var/cache/erofsify}/images
work=

say() { echo "workload image: $*" >&2; }

stamp=$(cat "$here/workload-image.sh" "$here/workload-packages.txt" "$here/debian.sh" | sha256sum)
result=$cache/workload-${stamp:0:12}.tar
if [[ -e $result ]]; then touch "$result" 2>/dev/null || true; echo "$result"; exit 0; fi
[[ $EUID == 0 ]] || { say "needs root to make $result"; exit 1; }
mkdir -p "$cache"
exec {lock}>"$cache/.workload-lock"
flock "$lock"
if [[ -e $result ]]; then echo "$result"; exit 0; fi
say "fetching packages"
find "$cache" -maxdepth 1 -name 'workload-*.tar' -mtime +7 -delete # of older recipes
rm -rf --one-file-system "$cache"/.workload-??????
work=$(mktemp -d "$cache/.workload-XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
mapfile -t packages < <(sed 's/#.*//' "$here/workload-packages.txt" | tr ' ' '\n' | sed '/^$/d')
debian_fetch "$work" bookworm "${packages[@]}" || { cat "$work/log" >&2; say "could not fetch Debian packages"; exit 1; }
root=$work/root
debian_unpack "$root" "$work"/archives/*.deb
debian_configure "$root"
# The programs that nothing here starts, and texts; zlib's examples are what gcc compiles.
mv "$root/usr/share/doc/zlib1g-dev/examples" "$root/usr/src/zlib"
rm -rf "$root"/usr/share/{bash-completion,bug,doc,doc-base,info,lintian,perl,zoneinfo} "$root"/usr/lib/x86_64-linux-gnu/perl
rm -rf "$root"/usr/bin/{perl*,python3*,scalar,*-lto-dump-*,*-dwp,*-ld.gold} "$root"/usr/lib/python3*
rm -rf "$root"/usr/lib/gcc/x86_64-linux-gnu/*/{lto1,plugin} "$root"/usr/lib/x86_64-linux-gnu/lib{a,t,l,ub}san.so*
mkdir -p "$root"/{volume,other}
tar --create --file "$work/tar" --directory "$root" --format=posix --sort=name --numeric-owner .
mv "$work/tar" "$result"
say "it is there: $(du -sm "$result" | cut -f 1) MB, $SECONDS s"
echo "$result"
