# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Bash, to be sourced: `source scripts/env.sh`. Makes this checkout's .venv, its ROS 2 and penguin_msgs usable in this
# shell, both over an installed ROS 2 (source that first) and over the ROS 2 wheels. Builds nothing: scripts/setup does.

_penguin_prepend() { # VARIABLE DIRECTORY: puts it first, once
  local value=":${!1:-}:"
  value="${value//":$2:"/:}"
  value="${value#:}"
  value="${value%:}"
  export "$1=$2${value:+:$value}"
}

_penguin_env() {
  local root venv library python_version
  root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
  venv="$root/.venv"
  if [ ! -x "$venv/bin/python" ] || [ ! -f "$root/install/local_setup.bash" ]; then
    echo "penguin_ros is not set up: $root has no built .venv and install. Type: $root/scripts/setup" >&2
    return 1
  fi
  if [ -d "$venv/share/ament_index" ]; then # the wheels bring their ROS 2 inside the venv
    if [ -n "${ROS_DISTRO:-}" ]; then
      echo "ROS 2 $ROS_DISTRO is sourced, but this .venv was set up with the ROS 2 wheels. Type: $root/scripts/setup" >&2
      return 1
    fi
    _penguin_prepend AMENT_PREFIX_PATH "$venv"
    _penguin_prepend CMAKE_PREFIX_PATH "$venv"
    python_version="$("$venv/bin/python" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    for library in "$venv/lib/python$python_version/site-packages"/ros_*.libs "$venv/lib"; do
      [ ! -d "$library" ] || _penguin_prepend LD_LIBRARY_PATH "$library"
    done
    # The wheels start every python twice to set that path; with it set they need not.
    export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
  elif [ -z "${ROS_DISTRO:-}" ]; then
    echo "This .venv was set up over an installed ROS 2, which is not sourced. Type: source /opt/ros/<distro>/setup.bash" >&2
    return 1
  fi
  export VIRTUAL_ENV="$venv"
  _penguin_prepend PATH "$venv/bin"
  local nounset=+u
  case $- in *u*) nounset=-u ;; esac
  set +u # colcon's and ament's scripts read unset variables
  # shellcheck disable=SC1091
  source "$root/install/local_setup.bash"
  set "$nounset"
}

_penguin_env
_penguin_env_status=$?
unset -f _penguin_env _penguin_prepend
(exit $_penguin_env_status) # the status of `source`
