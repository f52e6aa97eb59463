# Activates the environment that setup_env.sh made, and what build.sh installed. Bash; to be sourced:
#
#   source tools/env.sh                       ROS 2 of $OMNI_DISTRO, else of a sourced ROS, else Kilted
#
# Replaces, never extends, what an earlier source of another distribution set.

_omni_env() {
  # shellcheck disable=SC1091
  . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
  local distro prefix venv install site libraries
  distro=$(omni_distro)
  prefix=$(omni_ros_prefix "$distro")
  venv=$OMNI_WORK/venv-$distro
  install=$OMNI_WORK/$distro/install
  if [ ! -x "$venv/bin/python" ]; then
    echo "[omni] error: no environment for ROS 2 $distro. Fix: tools/setup_env.sh $distro" >&2
    return 1
  fi
  # Back to what was before the first source.
  if [ -n "${OMNI_ENV:-}" ]; then
    PATH=$OMNI_OLD_PATH LD_LIBRARY_PATH=$OMNI_OLD_LD_LIBRARY_PATH PYTHONPATH=$OMNI_OLD_PYTHONPATH
    AMENT_PREFIX_PATH=$OMNI_OLD_AMENT_PREFIX_PATH CMAKE_PREFIX_PATH=$OMNI_OLD_CMAKE_PREFIX_PATH
  fi
  export OMNI_OLD_PATH=$PATH OMNI_OLD_LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-} OMNI_OLD_PYTHONPATH=${PYTHONPATH:-}
  export OMNI_OLD_AMENT_PREFIX_PATH=${AMENT_PREFIX_PATH:-} OMNI_OLD_CMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH:-}
  site=$("$venv/bin/python" -ISc 'import sys; print("lib/python%d.%d/site-packages" % sys.version_info[:2])')
  if [ -n "$prefix" ]; then
    if [ "${ROS_DISTRO:-}" != "$distro" ]; then unset AMENT_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH; fi
    # ROS's scripts read variables that may be unset.
    case $- in *u*) set +u && . "$prefix/setup.bash" && set -u ;; *) . "$prefix/setup.bash" ;; esac
    unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
  else
    # The wheels re-execute python to set these, for python programs only; set here, they need not.
    libraries=$(printf '%s:' "$venv/$site"/ros_*.libs)$venv/lib
    export LD_LIBRARY_PATH=$libraries _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
    export AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv PYTHONPATH=
    export ROS_VERSION=2 ROS_PYTHON_VERSION=3 RMW_IMPLEMENTATION=rmw_fastrtps_cpp
  fi
  export ROS_DISTRO=$distro OMNI_ENV=$distro OMNI_ROS_PREFIX=$prefix VIRTUAL_ENV=$venv
  PATH=$install/lib/omni_ros2:$venv/bin:$PATH
  # Named even before they exist, so that a build need not be followed by a second source.
  LD_LIBRARY_PATH=$install/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  PYTHONPATH=$install/$site${PYTHONPATH:+:$PYTHONPATH}
  AMENT_PREFIX_PATH=$install${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}
  CMAKE_PREFIX_PATH=$install${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
  export PATH LD_LIBRARY_PATH PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH
}

_omni_env
