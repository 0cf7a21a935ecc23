# SPDX-License-Identifier: Apache-2.0
# Bash, sourced by scripts/setup: what machine this is (ROS 2, Python, Jetson, Debian packages), and what that means for the
# set-up. Uses its root, venv, python, flavour, parts, explain and say.
# shellcheck shell=bash disable=SC2034,SC2154

wheels='the ROS 2 wheels (Jazzy)'

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
    apt_install python3 python3-venv python3-dev
    choose_python again
    return
  fi
  explain "no suitable Python" "${objections:-there is no python3 on the PATH}" \
    "PENGUIN_PYTHON=/path/to/python3 ./scripts/setup   (or first: sudo apt-get install python3 python3-venv python3-dev)"
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() { # PACKAGE...: on behalf of root, who may
  wanted_packages="$*"
  titles[install_debian]="Debian packages: $*" advices[install_debian]="apt-get install -y $*" fingerprints[install_debian]=never
  run_chains install_debian
}

install_debian() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  # shellcheck disable=SC2086 # one word per package
  apt-get install -q -y --no-install-recommends $wanted_packages
}

# The Debian packages whose programs or files are missing, one a line.
missing_required() {
  local version
  version="$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
  command -v g++ >/dev/null || echo g++
  command -v cmake >/dev/null || echo cmake
  ! is_sourced_ros || command -v make >/dev/null || echo make # the wheels bring ninja
  "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$version-venv"
  "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    echo "$version-dev"
  is_sourced_ros || return 0
  "$python" -c 'import numpy' 2>/dev/null || echo python3-numpy
  # Only looked for: it may not import until numpy is the one that it was built with.
  "$python" -c 'import sys; from importlib.util import find_spec; sys.exit(not find_spec("cv2"))' || echo python3-opencv
}

missing_wanted() { # everything else works without
  local libraries
  libraries="$( (ldconfig -p || /sbin/ldconfig -p) 2>/dev/null || true)"
  # Drawing without a screen, for simulated cameras.
  grep -q libEGL.so.1 <<<"$libraries" || echo libegl1
  compgen -G '/usr/lib/*/dri/*swrast*' >/dev/null || compgen -G '/usr/lib/*/libgallium*' >/dev/null || echo libgl1-mesa-dri
  wants test || return 0
  # The page of the console in a real browser. Ubuntu's chromium is a snap, which is not for containers.
  command -v chromedriver >/dev/null || ! apt-cache show chromium-driver >/dev/null 2>&1 ||
    grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null || echo chromium chromium-driver
  command -v firefox-esr >/dev/null || ! apt-cache show firefox-esr >/dev/null 2>&1 || echo firefox-esr
  # SDFormat's parser. Debian 12 has it under these names; with an installed Gazebo it is the command gz.
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
    apt_install $required $wanted
    required="$(missing_required | xargs)"
  elif [ -n "$wanted" ]; then
    say "note: simulated cameras and checks of worlds will need: sudo apt-get install -y $wanted"
  fi
  [ -z "$required" ] || explain "programs are missing" "not found: $required (names of Debian packages)" \
    "sudo apt-get install -y $required && ./scripts/setup"
}

# A Jetson's release, CUDA and the bindings for it, as words of the shell; nothing elsewhere.
jetson_words() { "$python" -I "$root/penguin_ros/jetson.py"; }

is_jetson() { [ -n "$(jetson_words)" ]; }

# The name of an NVIDIA card, its driver and CUDA; nothing where there is none.
card_words() { "$python" -I "$root/penguin_ros/nvidia_card.py"; }

free_megabytes() { df -Pm "$root" | awk 'NR == 2 { print $4 }'; }

# Megabytes that a set-up puts on the disk, the installer's cache among them, where nothing is there yet; measured on x86-64.
needed_megabytes() {
  local needed=1000
  ! wants test || needed=3500
  ! wants torch || needed=3000
  echo "$needed"
}

tell_card() {
  local card
  card="$(card_words)"
  [ -n "$card" ] || return 0
  say "  NVIDIA card: $card"
  wants torch || wants test || say "  it is left idle without PyTorch for it (several GB): ./scripts/setup torch"
}

tell_plan() {
  local needed free words
  needed="$(needed_megabytes)" free="$(free_megabytes)" words="$(jetson_words)"
  say "Setting penguin_ros up in $root on $flavour, with $python"
  [ -z "$words" ] || say "  Jetson: $words"
  [ -n "$words" ] || tell_card
  [ -z "$foreign_path" ] || is_sourced_ros || say "  note: PYTHONPATH is set ($foreign_path); the set-up does not look there"
  [ ! -e "$stamps/build_package" ] || return 0
  say "  a first time takes 1 to 3 minutes on two cores and a fast line with uv, several times that with pip;" \
    "it needs about $needed MB of disk ($free MB are free)"
  [ "$free" -gt "$needed" ] || explain "the disk is too full" "$free MB are free, about $needed MB are needed" \
    "free some space below $root, then ./scripts/setup"
}
