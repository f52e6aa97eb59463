#!/usr/bin/env bash
# Builds the native engine into .work/native (build_native.sh), and the package with colcon into .work/<distro>/install.
# Does nothing when no input changed.
#
#   tools/build.sh [kilted|jazzy|...]          needs tools/setup_env.sh of the same distribution first
set -eEuo pipefail
trap 'echo "[omni] error: ${BASH_SOURCE[0]}:$LINENO: $BASH_COMMAND" >&2' ERR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export OMNI_DISTRO
OMNI_DISTRO=$(omni_distro "${1:-}")
# shellcheck disable=SC1091
. "$OMNI_ROOT/tools/env.sh"
BASE=$OMNI_WORK/$OMNI_DISTRO
LOG=$OMNI_WORK/log/build-$OMNI_DISTRO.log

SOURCES=(package.xml CMakeLists.txt LICENSE plugin.xml bpf cmake config launch msg native omni_core omni_ros2)

source_hash() { find "${SOURCES[@]}" -type f ! -name '*.pyc' | sort | omni_hash; }
# What CMake's cache depends on: with another environment or place it is not usable.
configuration_hash() { printf '%s\n' CMakeLists.txt tools/build.sh "$VIRTUAL_ENV/omni.stamp" | omni_hash "$OMNI_ROOT"; }

build() {
  # From a copy: CMake refuses targets whose include directories (numpy's, in .work) lie below the source directory.
  rm -rf "$BASE/src"
  mkdir -p "$BASE/src"
  cp -a "${SOURCES[@]}" "$BASE/src"
  colcon --log-base "$BASE/log" build --base-paths "$BASE/src" --packages-select omni_ros2 \
    --build-base "$BASE/build" --install-base "$BASE/install" --merge-install --event-handlers console_direct+ \
    --cmake-args -G Ninja -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$VIRTUAL_ENV/bin/python"
}

"$OMNI_ROOT/tools/build_native.sh"
mkdir -p "$BASE"
exec 9>"$BASE/build.lock"
flock 9
cd "$OMNI_ROOT"
configuration=$(configuration_hash)
now="$configuration $(source_hash)"
before=$(cat "$BASE/build.stamp" 2>/dev/null || true)
[ "$before" = "$now" ] && exit 0
[ "${before%% *}" = "$configuration" ] || rm -rf "$BASE/build" "$BASE/install"
# Files deleted from the source must not live on where they were installed.
rm -rf "$BASE/install/lib/omni_ros2" "$BASE"/install/lib/python*/site-packages/omni_{core,ros2}* "$BASE/install/share/omni_ros2"
omni_step "building the package for ROS 2 $OMNI_DISTRO (the first time about a minute)" "$LOG" build ||
  omni_fail "colcon could not build the package (log: $LOG)"
echo "$now" >"$BASE/build.stamp"
