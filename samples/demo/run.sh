#!/usr/bin/env bash
# The demo: on a Debian 12 machine with Node.js and root, from nothing to a real image mounted as EROFS.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/../lab/setup.sh"
layout=$("$here/make-image.sh" small)
cd "$here/../.."
exec node --enable-source-maps dist/samples/demo/demo.js "$layout"
