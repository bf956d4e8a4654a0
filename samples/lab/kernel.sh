#!/usr/bin/env bash
# Prints the path of the lab's kernel, which has its modules beside it. For EROFSIFY_KERNEL.
set -euo pipefail

root=$("$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lab.sh" full)
kernels=("$root"/usr/lib/modules/*/vmlinuz)
echo "${kernels[-1]}"
