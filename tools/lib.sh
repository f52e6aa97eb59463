# Shared by setup_env.sh, build.sh and env.sh (bash). Sourced, not run.

OMNI_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OMNI_WORK=$OMNI_ROOT/.work

# The ROS distribution to work with: the one asked for, else the one that is sourced, else Kilted.
omni_distro() { echo "${1:-${OMNI_DISTRO:-${ROS_DISTRO:-kilted}}}"; }

# The ROS prefix to use instead of wheels: /opt/ros/<distro>, or what is sourced from elsewhere. Empty: there is none.
omni_ros_prefix() {
  if [ -f "/opt/ros/$1/setup.bash" ]; then
    echo "/opt/ros/$1"
  elif [ "${OMNI_ENV:-}" = "$1" ]; then
    echo "$OMNI_ROS_PREFIX" # as env.sh found it before it changed the paths
  elif [ "${ROS_DISTRO:-}" = "$1" ] && [ -z "${OMNI_ENV:-}" ]; then
    local prefix
    IFS=: read -ra prefix <<<"${AMENT_PREFIX_PATH:-}"
    for prefix in "${prefix[@]}"; do
      if [ -d "$prefix/share/rclpy" ] && [ -f "$prefix/setup.bash" ]; then echo "$prefix"; return; fi
    done
  fi
}

omni_say() { printf '%s\n' "[omni] $*"; }
omni_fail() { printf '%s\n' "[omni] error: $1" "${@:2}" >&2; exit 1; }

# omni_step LABEL LOG COMMAND...: runs it with its output in LOG, says every 15 s that it still works, and how long it took.
# Returns the command's status. Ctrl-C ends the command and this shell, but lets apt-get finish: half an installation is worse.
omni_step() {
  local label=$1 log=$2 began=$SECONDS next=15 pid status=0 interrupted=
  shift 2
  mkdir -p "$(dirname "$log")"
  omni_say "$label ..."
  set -m # a process group of its own
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  set +m
  trap 'interrupted=yes; if [ "$1" = apt ]; then omni_say "  apt-get finishes first"; else kill -- "-$pid" 2>/dev/null || true; fi' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2 || true
    if [ $((SECONDS - began)) -ge $next ]; then omni_say "  still at it, $((SECONDS - began)) s"; next=$((next + 15)); fi
  done
  wait "$pid" || status=$?
  trap - INT TERM
  [ -z "$interrupted" ] || exit 130
  if [ $status = 0 ]; then
    omni_say "  done in $((SECONDS - began)) s"
  else
    omni_say "  failed after $((SECONDS - began)) s; the end of $log:"
    grep -v '^WARNING: Location' "$log" | tail -25 >&2
  fi
  return $status
}

# omni_hash: one hash of the files named on standard input (one path a line) and of the arguments.
omni_hash() { { xargs -d '\n' sha256sum; printf '%s\n' "$@"; } | sha256sum | cut -d' ' -f1; }
