#!/usr/bin/env bash
# Builds the native engine into .work/native/omni-native. Does nothing when no input changed.
#
#   tools/build_native.sh [--sanitize]         needs tools/setup_env.sh first
#
# --sanitize: with AddressSanitizer and UndefinedBehaviorSanitizer, into .work/native-asan/omni-native.
set -eEuo pipefail
trap 'echo "[omni] error: ${BASH_SOURCE[0]}:$LINENO: $BASH_COMMAND" >&2' ERR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=native SANITIZE=OFF
case ${1:-} in
  '') ;;
  --sanitize) NAME=native-asan SANITIZE=ON ;;
  *) omni_fail "build_native.sh does not know $1" ;;
esac
BASE=$OMNI_WORK/$NAME

inputs() { find native -maxdepth 1 -type f | sort; echo tools/build_native.sh; }

build() {
  cmake -S native -B "$BASE" -G Ninja -DOMNI_SANITIZE="$SANITIZE"
  cmake --build "$BASE"
}

mkdir -p "$BASE"
cd "$OMNI_ROOT"
exec 9>"$OMNI_WORK/$NAME.lock"
flock 9
now=$(inputs | omni_hash "$OMNI_ROOT")
[ -x "$BASE/omni-native" ] && [ "$(cat "$BASE/build.stamp" 2>/dev/null)" = "$now" ] && exit 0
# CMake and ninja are in the python environment.
# shellcheck disable=SC1091
. "$OMNI_ROOT/tools/env.sh"
# In its cache are the places of both, and of the tree.
if [ "$(cat "$BASE/environment" 2>/dev/null)" != "$OMNI_ROOT $VIRTUAL_ENV" ]; then
  rm -rf "$BASE"
  mkdir -p "$BASE"
  echo "$OMNI_ROOT $VIRTUAL_ENV" >"$BASE/environment"
fi
rm -f "$BASE/build.stamp"
omni_step "building the native engine${1:+ ($1)}" "$OMNI_WORK/log/build-$NAME.log" build ||
  omni_fail "the native engine could not be built (log: $OMNI_WORK/log/build-$NAME.log)"
echo "$now" >"$BASE/build.stamp"
