#!/usr/bin/env bash
# Installs what is missing (Debian's packages), builds, and climbs the ladder in two worlds that the program makes itself:
# ends with a table of measures for each and one user's recommendations. Arguments go to `twotower demo`.
set -euo pipefail
cd "$(dirname "$0")"
. .ci/packages.sh
[ -f build/build.ninja ] || said=$(meson setup build) || { echo "$said" >&2; exit 1; }
ninja -C build train/commands/twotower | tail -n 1
exec build/train/commands/twotower demo --out out/demo "$@"
