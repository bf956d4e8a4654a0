# shellcheck shell=bash
# Functions to fetch Debian packages of any suite through the machine's own apt configuration and to unpack them into a
# directory without running their install scripts. Sourced by lab.sh and by the demo's make-image.sh.

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Prints the Debian mirrors in the machine's apt sources, one a line; EROFSIFY_MIRROR overrides them.
# shellcheck disable=SC2016 # apt expands these
debian_mirrors() {
  if [[ ${EROFSIFY_MIRROR:-} ]]; then echo "$EROFSIFY_MIRROR"; return; fi
  apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    awk '!/security/ && $1 ~ /debian/ && !seen[$1]++ { print $1 }'
}

# Fetches packages and all they depend on, checked against Debian's archive key: debian_fetch WORK SUITE PACKAGE…
# They end up in WORK/archives/*.deb, and what went wrong in WORK/log. A suite that was fetched into WORK before is not
# asked for its index again.
debian_fetch() {
  local work=$1 suite=$2 mirror
  shift 2
  [[ -r $debian_keyring ]] || { echo "$debian_keyring is missing: install debian-archive-keyring" >"$work/log"; return 1; }
  for mirror in $(debian_mirrors); do
    debian_fetch_from "$mirror" "$work" "$suite" "$@" >"$work/log" 2>&1 && return 0
  done
  [[ -s $work/log ]] || echo "no Debian mirror in the machine's apt sources; set EROFSIFY_MIRROR" >"$work/log"
  return 1
}

# apt with a state of its own: nothing installed, one source.
debian_fetch_from() {
  local source="deb [signed-by=$debian_keyring] $1 $3 main" work=$2
  shift 3
  local apt=(apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o Dir::State="$work" -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status"
    -o Dir::Cache="$work" -o Debug::NoLocking=true -o APT::Sandbox::User=root
    -o APT::Install-Recommends=false -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none
    -o Acquire::Retries=2 -o Acquire::http::Timeout=30)
  mkdir -p "$work/lists/partial" "$work/archives/partial"
  : >"$work/status"
  if [[ ! -e $work/index-of || $(<"$work/index-of") != "$source" ]]; then
    rm -rf "$work/archives/"*.deb
    echo "$source" >"$work/sources.list"
    "${apt[@]}" update -o APT::Update::Error-Mode=any </dev/null || return 1
    echo "$source" >"$work/index-of"
  fi
  "${apt[@]}" install -y --download-only "$@" </dev/null
}

# Unpacks packages into a directory that has Debian's merged /usr: debian_unpack ROOT DEB…
debian_unpack() {
  local root=$1 dir
  shift
  for dir in bin sbin lib lib64; do
    mkdir -p "$root/usr/$dir"
    [[ -e $root/$dir ]] || ln -s "usr/$dir" "$root/$dir"
  done
  # shellcheck disable=SC2016 # expanded by the inner shell
  printf '%s\0' "$@" | xargs -0 -n 8 -P "$(nproc)" bash -c '
    set -euo pipefail
    root=$1
    shift
    for deb; do
      dpkg-deb --fsys-tarfile "$deb" |
        tar -x -C "$root" --keep-directory-symlink --exclude="./usr/share/man" --exclude="./usr/share/locale"
    done' unpack "$root"
}

# What the packages' install scripts would have set up, as far as programs need it: debian_configure ROOT
debian_configure() {
  cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"
  cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"
  echo "127.0.0.1 localhost" >"$1/etc/hosts"
  ldconfig -r "$1"
}
