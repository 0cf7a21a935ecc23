# SPDX-License-Identifier: Apache-2.0
# Bash, sourced by scripts/setup: what its steps do. Uses its root, venv, stamps, python, flavour, ground, run, explain
# and say.
# shellcheck shell=bash disable=SC2034,SC2154

wheels='the ROS 2 wheels (Jazzy)'
# To be raised with every change below that must do finished steps again.
recipe=1

is_sourced_ros() { [ "$flavour" != "$wheels" ]; }

choose_flavour() {
  flavour="$wheels"
  if [ -n "${ROS_DISTRO:-}" ]; then
    flavour="ROS 2 $ROS_DISTRO"
    [ -n "${AMENT_PREFIX_PATH:-}" ] || explain "ROS_DISTRO is $ROS_DISTRO, but ROS 2 is not sourced" \
      "AMENT_PREFIX_PATH is empty" "source /opt/ros/$ROS_DISTRO/setup.bash && ./scripts/setup"
    case "$ROS_DISTRO" in
      humble | jazzy | kilted | lyrical) ;;
      *) say "note: ROS 2 $ROS_DISTRO is not one of humble, jazzy, kilted, lyrical, for which this is written; trying" ;;
    esac
    return
  fi
  local installed
  installed="$(compgen -G '/opt/ros/*/setup.bash' | tail -n 1 || true)"
  [ -z "$installed" ] || say "note: an installed ROS 2 is used when it is sourced first: source $installed"
  local machine
  machine="$(uname -m)"
  [ "$machine" = x86_64 ] || explain "no ROS 2 is sourced, and there is none to download for this machine" \
    "the ROS 2 wheels exist for x86-64 only, this machine is $machine" \
    "source ${installed:-/opt/ros/<distro>/setup.bash (after installing ROS 2: https://docs.ros.org)} && ./scripts/setup"
}

# Says why a Python cannot be used; nothing when it can.
python_objection() {
  local range='sys.version_info >= (3, 10)' wanted='3.10 or newer'
  if ! is_sourced_ros; then
    range='(3, 10) <= sys.version_info[:2] <= (3, 13) and sys.implementation.name == "cpython"'
    wanted='CPython 3.10 to 3.13, for which the ROS 2 wheels exist'
  fi
  "$1" -c "import sys; sys.exit(0 if $range else 1)" 2>/dev/null ||
    { echo "$1 is $("$1" -V 2>&1 | head -n 1), not $wanted" && return; }
  ! is_sourced_ros || "$1" -c 'import rclpy' 2>/dev/null || echo "$1 cannot import rclpy of ROS 2 $ROS_DISTRO"
}

choose_python() {
  local candidate objection objections=''
  local candidates=("${PENGUIN_PYTHON:-}")
  if [ -z "${PENGUIN_PYTHON:-}" ]; then
    mapfile -t candidates < <(type -ap python3 python3.13 python3.12 python3.11 python3.10 | grep -v "^$venv/" || true)
  fi
  for candidate in "${candidates[@]}"; do
    objection="$(python_objection "$candidate")"
    [ -n "$objection" ] || { python="$candidate" && return; }
    objections+="${objections:+; }$objection"
  done
  if [ -z "$objections" ] && can_apt && [ "${1:-}" != again ]; then
    run apt_install "Debian package python3" "apt-get install -y python3 python3-venv python3-dev" python3 python3-venv python3-dev
    choose_python again
    return
  fi
  explain "no suitable Python" "${objections:-there is no python3 on the PATH}" \
    "PENGUIN_PYTHON=/path/to/python3 ./scripts/setup   (or first: sudo apt-get install python3 python3-venv python3-dev)"
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends "$@"
}

# The Debian packages whose programs or files are missing, one a line.
missing_required() {
  local version
  version="$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
  command -v g++ >/dev/null || echo g++
  command -v cmake >/dev/null || echo cmake
  command -v make >/dev/null || echo make
  "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$version-venv"
  "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    echo "$version-dev"
  is_sourced_ros || return 0
  "$python" -c 'import numpy' 2>/dev/null || echo python3-numpy
  # Only looked for: it may not import until numpy is the one that it was built with.
  "$python" -c 'import sys; from importlib.util import find_spec; sys.exit(not find_spec("cv2"))' || echo python3-opencv
}

missing_wanted() { # drawing without a screen, for simulated cameras; SDFormat's parser, for tests; everything else works without
  local libraries
  libraries="$( (ldconfig -p || /sbin/ldconfig -p) 2>/dev/null || true)"
  grep -q libEGL.so.1 <<<"$libraries" || echo libegl1
  compgen -G '/usr/lib/*/dri/*swrast*' >/dev/null || compgen -G '/usr/lib/*/libgallium*' >/dev/null || echo libgl1-mesa-dri
  # Debian 12 has it under these names; with an installed Gazebo it is the command gz.
  command -v gz >/dev/null || command -v ign >/dev/null || ! apt-cache show ignition-tools libsdformat-dev >/dev/null 2>&1 ||
    echo libsdformat-dev ignition-tools
}

check_programs() {
  local required wanted
  required="$(missing_required | xargs)"
  wanted="$(missing_wanted | xargs)"
  [ -n "$required$wanted" ] || return 0
  if can_apt; then
    # shellcheck disable=SC2086 # one word per package
    run apt_install "Debian packages: $required $wanted" "apt-get install -y $required $wanted" $required $wanted
    required="$(missing_required | xargs)"
  elif [ -n "$wanted" ]; then
    say "note: simulated cameras and checks of worlds will need: sudo apt-get install -y $wanted"
  fi
  [ -z "$required" ] || explain "programs are missing" "not found: $required (names of Debian packages)" \
    "sudo apt-get install -y $required && ./scripts/setup"
}

is_usable_venv() {
  local wanted=false
  ! is_sourced_ros || wanted=true
  [ -x "$venv/bin/python" ] && [ -x "$venv/bin/pip" ] &&
    grep -q "^include-system-site-packages = $wanted" "$venv/pyvenv.cfg" &&
    head -n 1 "$venv/bin/pip" | grep -qF "$venv/bin/" &&
    [ "$("$venv/bin/python" -V)" = "$("$python" -V)" ]
}

make_venv() {
  if ! is_usable_venv; then
    [ ! -e "$venv" ] || say "    replacing .venv, which was made for another Python, ROS 2 or place"
    local options=()
    ! is_sourced_ros || options=(--system-site-packages)
    rm -rf "$venv"
    "$python" -m venv "${options[@]}" "$venv"
  fi
  touch "$venv/COLCON_IGNORE" # else colcon takes what is in there for packages
}

pip_install() {
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" |
    { grep --line-buffered -v '^Requirement already satisfied' || true; }
}

install_packages() {
  if is_sourced_ros; then
    keep_numpy
    "$venv/bin/python" "$root/scripts/kept_requirements.py" "$root/requirements/test.txt" "$stamps"
    pip_install -r "$stamps/requirements.txt" -c "$stamps/constraints.txt"
    return
  fi
  pip_install -r "$root/requirements/ros_wheels.txt" -r "$root/requirements/test.txt"
  # The CMake files of the wheels name the Python prefix that they were built in.
  { grep -rlZ '/opt/python/cp3' "$venv/share" || true; } | xargs -0 -r sed -i -E "s#/opt/python/cp3[0-9]+-cp3[0-9]+#$venv#g"
}

# The installed cv_bridge and OpenCV are binaries built for one major version of numpy; a newer one breaks their import.
keep_numpy() {
  "$venv/bin/python" -c "$import_cv_bridge" && return
  pip_install 'numpy<2' || true
  "$venv/bin/python" -c "$import_cv_bridge" ||
    say "    note: the installed cv_bridge or OpenCV does not import; images are converted without cv_bridge"
}
import_cv_bridge='
from importlib.util import find_spec
import numpy, cv2
if find_spec("cv_bridge"):
    from cv_bridge.boost.cv_bridge_boost import getCvType'

colcon_build() {
  local variables=("VIRTUAL_ENV=$venv" "PATH=$venv/bin:$PATH")
  # Over the wheels nothing of the caller's environment may lead to another ROS 2 or an older build of this one.
  is_sourced_ros || variables=(-u PYTHONPATH -u LD_LIBRARY_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE
    "AMENT_PREFIX_PATH=$venv" "CMAKE_PREFIX_PATH=$venv" "${variables[@]}")
  env "${variables[@]}" "$venv/bin/python" -m colcon build --event-handlers console_direct+ --packages-select "$@"
}

build_interfaces() {
  # cmake's cache and colcon's layout survive neither a moved checkout nor another ROS 2.
  if [ "$(cat "$stamps/ground" 2>/dev/null)" != "$ground" ]; then
    rm -rf "$root/build" "$root/install"
  fi
  colcon_build penguin_msgs --cmake-args "-DPython3_EXECUTABLE=$venv/bin/python" -DBUILD_TESTING=OFF
  printf '%s' "$ground" >"$stamps/ground"
}

build_package() {
  colcon_build penguin_ros
  # For the command `penguin` without any environment, and for type checkers.
  pip_install --no-deps --no-build-isolation --config-settings editable_mode=compat --editable "$root"
}

import_everything() {
  (
    set +eu
    # shellcheck source=scripts/env.sh disable=SC1091
    source "$root/scripts/env.sh" && python -c 'import penguin_ros, rclpy; from penguin_msgs.msg import Caption'
  )
}

is_complete() { # FINGERPRINT
  [ "$(cat "$stamps/complete" 2>/dev/null)" = "$1" ] || return 1
  import_everything >>"$log" 2>&1 || { rm -rf "$stamps" && return 1; }
}
