#!/usr/bin/env bash
# Installs the Debian packages of the programs that `make bench` compares with, as far as this machine allows it: what is
# still missing afterwards, the benchmark skips and says so. Debian configures no network for any of them, so no service
# of theirs comes up.
#
#   tools/setup_peers.sh [options of bench/run.py]      in the environment of tools/env.sh
set -eEuo pipefail
trap 'echo "[omni] error: ${BASH_SOURCE[0]}:$LINENO: $BASH_COMMAND" >&2' ERR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

missing=$(python "$OMNI_ROOT/bench/run.py" "$@" --missing-packages)
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
  omni_say "no apt-get here, the benchmark goes on without: $missing"
elif [ "$(id -u)" != 0 ]; then
  omni_say "not root, the benchmark goes on without: $missing"
else
  apt() { env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -y "$@"; }
  omni_step "reading the package lists" "$OMNI_WORK/log/apt-update.log" apt update || omni_say "going on with the lists at hand"
  # One by one: not every distribution has all of them.
  for package in $missing; do
    omni_step "installing $package" "$OMNI_WORK/log/apt-$package.log" apt install --no-install-recommends "$package" ||
      omni_say "going on without $package"
  done
fi
