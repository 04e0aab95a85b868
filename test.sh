#!/usr/bin/env bash
# Installs what is missing (Debian's packages), builds with warnings as errors and runs all tests: once with oneDNN and
# OpenMP, once without both. TWOTOWER_DATA may name a folder with ml-100k/ and ml-1m/; the tests that want them skip without it.
set -euo pipefail
cd "$(dirname "$0")"
more_packages="cmake abigail-tools python3-numpy python3-pip"
. .ci/packages.sh

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
for libraries in enabled disabled; do
  build=build-test-$libraries
  [ -f "$build/build.ninja" ] || said=$(meson setup "$build" -Dwerror=true -Donednn=$libraries -Dopenmp=$libraries) ||
    { echo "$said" >&2; exit 1; }
  echo "== build with oneDNN and OpenMP $libraries"
  ninja -C "$build" | tail -n 1
  meson test -C "$build" --no-rebuild --verbose --num-processes 1 --timeout-multiplier 4 2>&1 | tee -a "$log" | grep -vE '^$' || status=1
  [ "${PIPESTATUS[0]}" = 0 ] || status=1
done

# The summaries of doctest and of Python's unittest, added up.
awk '/\[doctest\] test cases:/ {gsub(/\x1b\[[0-9;]*m/, ""); split($0, part, "|"); passed += part[2]; failed += part[3]}
     /^Ran [0-9]+ tests? in / {passed += $2}
     /^(OK|FAILED) \(/ {n = split($0, part, /[(,=) ]+/)
       for (i = 2; i < n; i += 2) {passed -= part[i + 1]; if (part[i] != "skipped") failed += part[i + 1]}}
     END {printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || passed == 0}' "$log" || status=1
exit $status
