# Installs what a build needs on Debian 12, and $more_packages, if something is missing. Sourced by demo.sh and test.sh.
packages="g++ meson ninja-build pkg-config libdnnl-dev libeigen3-dev doctest-dev libcli11-dev nlohmann-json3-dev
  libtomlplusplus-dev libcsv-dev libxxhash-dev libhnswlib-dev ${more_packages:-}"
missing=""
for package in $packages; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "installing:$missing" >&2
  sudo=""
  if [ "$(id -u)" != 0 ]; then sudo=sudo; fi
  $sudo apt-get update -qq >&2
  # shellcheck disable=SC2086  # one word a package
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >&2
fi
