#!/usr/bin/env bash
# What the tests of the native engine on aarch64 need: a cross compiler and an emulator of that processor, from the
# distribution's packages, and libcrypto for it, unpacked into .work/aarch64/root (this machine gets no second architecture).
# Exit code 1, with the reason, where this machine does not allow it; then those tests are skipped.
#
#   tools/setup_aarch64.sh [--check]           a second run takes no time; --check only says what is missing
set -eEuo pipefail
trap 'echo "[omni] error: ${BASH_SOURCE[0]}:$LINENO: $BASH_COMMAND" >&2' ERR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

BASE=$OMNI_WORK/aarch64
LOGS=$OMNI_WORK/log
PACKAGES=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
ARCHIVE=usr/lib/aarch64-linux-gnu/libcrypto.a # static: the emulated program needs libc only, which the cross compiler has

# Empty where all is there.
missing() {
  local program
  for program in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$program" >/dev/null || printf '%s, ' "$program"
  done
  [ -f "$BASE/root/$ARCHIVE" ] || printf '%s, ' "libcrypto for arm64"
}

say_missing() {
  local names
  names=$(missing)
  [ -n "$names" ] || exit 0
  omni_fail "tests on aarch64 need ${names%, }" "  Fix: tools/setup_aarch64.sh, as root, where apt-get has packages for arm64"
}

apt() { env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::http::Timeout=20 -y "$@"; }

install() {
  omni_step "installing ${PACKAGES[*]}" "$LOGS/apt-aarch64.log" apt install --no-install-recommends "${PACKAGES[@]}"
}
# apt-get with lists, and a list of installed packages, of its own.
foreign() {
  apt-get -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$BASE/apt" -o Dir::State::status="$BASE/apt/status" \
    -o Dir::Cache="$BASE/apt" -o APT::Sandbox::User= -o Acquire::http::Timeout=20 "$@"
}

unpack_libcrypto() {
  rm -rf "$BASE/apt" "$BASE/root"
  mkdir -p "$BASE/apt/lists/partial" "$BASE/apt/archives/partial" "$BASE/root"
  touch "$BASE/apt/status"
  foreign update # may fail: another source may be broken
  (cd "$BASE/apt" && foreign download libssl-dev) && dpkg-deb -x "$BASE"/apt/libssl-dev_*.deb "$BASE/root" && rm -rf "$BASE/apt"
}

[ "${1:-}" != --check ] || say_missing
[ -n "$(missing)" ] || exit 0
command -v apt-get >/dev/null || say_missing
mkdir -p "$BASE"
exec 9>"$BASE/setup.lock"
flock 9
if ! { command -v aarch64-linux-gnu-gcc && command -v qemu-aarch64; } >/dev/null; then
  [ "$(id -u)" = 0 ] || say_missing
  # The lists at hand will often do.
  install || { omni_step "reading the package lists" "$LOGS/apt-update.log" apt update || true; install; } || say_missing
fi
[ -f "$BASE/root/$ARCHIVE" ] ||
  omni_step "unpacking libcrypto for arm64" "$LOGS/aarch64.log" unpack_libcrypto || say_missing
say_missing
