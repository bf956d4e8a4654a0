#!/usr/bin/env bash
# Sets the machine up, builds, and runs the tests: all, or those whose path contains one of the arguments.
#
#   .ci/test.sh                      everything
#   .ci/test.sh formats/tar fuzz     formats/tar/** and every fuzz test
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
samples/lab/setup.sh
samples/lab/lab.sh utils >/dev/null
# Mounts that a killed test leaves behind go with the namespace.
[[ $EUID != 0 ]] || private=(unshare --mount --propagation private --)
exec ${private[@]+"${private[@]}"} node --enable-source-maps .ci/run-tests.mjs "$@" </dev/null
