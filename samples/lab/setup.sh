#!/usr/bin/env bash
# Brings a machine with Debian 12 or later, Node.js 20.19 or later and root to where the project builds and its tests
# run: Debian packages, npm packages, compiled code. Does nothing that is done already.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

check_node() {
  command -v npm >/dev/null || die "node and npm are missing: install Node.js 20.19 or later"
  node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' ||
    die "Node.js $(node --version) is too old: 20.19 or later is needed"
}

# Packages of packages.txt that are not installed.
missing_packages() {
  local wanted
  wanted=$(sed 's/#.*//; s/ *$//; /^$/d' "$here/packages.txt")
  # shellcheck disable=SC2086 # one word a package
  comm -23 <(sort <<<"$wanted") \
    <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' | sort)
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

install_packages() {
  command -v apt-get >/dev/null || die "this is no Debian machine; install by hand: $*"
  [[ $EUID == 0 ]] || die "run as root once, to install: $*"
  # Debian's docker-registry starts a service on port 5000 when it is installed and at every boot; the project starts its
  # own on a port of its own. Somebody's registry that was there before is left alone.
  if [[ " $* " == *" docker-registry "* && ! -e /etc/systemd/system/docker-registry.service ]]; then
    mkdir -p /etc/systemd/system
    ln -s /dev/null /etc/systemd/system/docker-registry.service
  fi
  # Debian's postgresql makes a database and starts it; the tests have their own.
  if [[ " $* " == *" postgresql "* && ! -e /etc/postgresql ]]; then
    mkdir -p /etc/postgresql-common/createcluster.d
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/erofsify.conf
  fi
  say "installing Debian packages: $*"
  apt_get update || die "apt-get update failed: is the network there?"
  apt_get install --no-install-recommends -y "$@" >/dev/null || die "apt-get could not install: $*"
}

# npm's own stamp does not tell which lockfile it came from, so a copy of the lockfile is kept beside it.
install_node_modules() {
  local stamp=node_modules/.erofsify-package-lock.json
  ! cmp -s package-lock.json "$stamp" || return 0
  say "installing npm packages"
  npm ci --no-audit --no-fund --loglevel=error >&2 </dev/null || die "npm ci failed: is the network there?"
  cp package-lock.json "$stamp"
}

check_node
mapfile -t missing < <(missing_packages)
[[ ${#missing[@]} == 0 ]] || install_packages "${missing[@]}"
install_node_modules
npm run --silent build >&2 || die "the code does not compile"
