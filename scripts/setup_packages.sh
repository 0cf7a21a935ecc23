# SPDX-License-Identifier: Apache-2.0
# Bash, sourced by scripts/setup: the virtual environment, and what installs which list of requirements into it. uv does it where
# it can be had, pip where it cannot. Uses its root, venv, stamps, work, python, is_sourced_ros, is_jetson and say.
# shellcheck shell=bash disable=SC2034,SC2154

# The first uv that knows all options used here, and the one that is fetched where there is none.
uv_oldest=0.7 uv_wanted=uv==0.13.9
installer=''

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
    [ ! -e "$venv" ] || echo "replacing .venv, which was made for another Python, ROS 2 or place"
    local options=()
    ! is_sourced_ros || options=(--system-site-packages)
    rm -rf "$venv"
    "$python" -m venv "${options[@]}" "$venv"
  fi
  touch "$venv/COLCON_IGNORE" # else colcon takes what is in there for packages
}

# Sets installer to the command of uv, or leaves it empty for pip. PENGUIN_INSTALLER=pip or uv decides.
choose_installer() {
  local choice="${PENGUIN_INSTALLER:-}"
  case "$choice" in
    pip) return ;;
    '' | uv) ;;
    *) explain "unknown installer: PENGUIN_INSTALLER=$choice" "it is pip or uv" "PENGUIN_INSTALLER=pip ./scripts/setup" ;;
  esac
  installer="$(found_uv || fetched_uv)"
  [ -n "$installer" ] || [ -z "$choice" ] || explain "uv cannot be had" "it is not on the PATH, and pip could not install it" \
    "./scripts/setup, which then uses pip"
  [ -n "$installer" ] || say "  note: uv cannot be had here, so pip installs the packages, which takes several times as long"
}

found_uv() {
  local path version
  for path in "$(command -v uv || true)" "$venv/.uv/bin/uv"; do
    version="$("$path" --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1)" || continue
    [ "$(printf '%s\n' "$uv_oldest" "$version" | sort -V | head -n 1)" = "$uv_oldest" ] || continue
    echo "$path" && return
  done
  return 1
}

fetched_uv() { # in a folder of its own: it is no part of what the node runs with
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile -q --target "$venv/.uv" "$uv_wanted" \
    >"$work/uv.log" 2>&1 || return 0
  ! "$venv/.uv/bin/uv" --version >/dev/null 2>&1 || echo "$venv/.uv/bin/uv"
}

package_install() { # what pip install takes
  if [ -n "$installer" ]; then
    uv_install "$@" && return
    echo "uv failed; trying pip"
  fi
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" |
    { grep --line-buffered -v '^Requirement already satisfied' || true; }
}

# The steps that need no messages, in order.
package_steps() {
  local steps='install_run'
  ! wants demo || steps+=' build_bundle'
  ! wants test || steps+=' install_test'
  if wants test && ! is_jetson; then steps+=' install_kernels'; fi
  if wants torch || { wants test && ! is_jetson && [ "${PENGUIN_TORCH:-on}" != off ]; }; then
    steps+=' install_torch'
  fi
  echo "$steps"
}

# Where pip is configured (another index, a folder of wheels, a certificate), uv follows.
uv_install() {
  local settings
  mapfile -t settings < <("$venv/bin/python" -I "$root/scripts/installer_settings.py")
  env "${settings[@]}" "$installer" pip install --python "$venv/bin/python" "$@"
}

# Jammy's pip, 22.0, lacks an option that is used below.
upgrade_pip() {
  [ -z "$installer" ] || return 0
  "$venv/bin/python" -c 'import pip, sys; sys.exit(int(pip.__version__.split(".")[0]) < 23)' || package_install 'pip>=23'
}

install_ros() {
  upgrade_pip
  if is_sourced_ros; then
    keep_numpy
    install_kept build.txt
    return
  fi
  package_install -r "$root/requirements/ros_wheels.txt" -r "$root/requirements/build.txt" -c "$root/requirements/run.txt"
  # The CMake files of the wheels name the Python prefix that they were built in.
  { grep -rlZ '/opt/python/cp3' "$venv/share" || true; } | xargs -0 -r sed -i -E "s#/opt/python/cp3[0-9]+-cp3[0-9]+#$venv#g"
}

install_run() {
  install_kept run.txt
  # A Jetson's GPU is spoken to through bindings of its driver's CUDA.
  local words
  words="$(jetson_words)"
  [ -z "$words" ] || package_install "$(sed -E 's/.*bindings=([^ ]*).*/\1/' <<<"$words")"
}

install_test() { install_kept test.txt -c "$root/requirements/run.txt"; }

# In a folder of its own, which is replaced: its LLVM must not be in a process that draws. Tests that need it are skipped without.
install_kernels() {
  rm -rf "$venv/.kernels"
  package_install --no-deps --target "$venv/.kernels" -r "$root/requirements/kernels.txt" ||
    echo "note: Triton could not be installed, so tests of the kernels are skipped"
}

install_torch() {
  case "${PENGUIN_TORCH:-on}" in
    on | off) ;;
    *) export UV_TORCH_BACKEND="$PENGUIN_TORCH" ;; # a build from PyTorch's own index: cpu, auto, cu126 …
  esac
  install_kept torch.txt -c "$root/requirements/run.txt"
}

install_kept() { # LIST [OPTIONS]: over an installed ROS 2 without what that brings
  local list="$root/requirements/$1"
  shift
  if ! is_sourced_ros; then
    package_install -r "$list" "$@"
    return
  fi
  mkdir -p "$work/kept"
  "$venv/bin/python" "$root/scripts/kept_requirements.py" "$list" "$work/kept"
  local options=(-r "$work/kept/requirements.txt" -c "$work/kept/constraints.txt")
  [ -z "$installer" ] || options+=(--override "$work/kept/overrides.txt")
  [ ! -s "$work/kept/requirements.txt" ] || package_install "${options[@]}"
}

# The installed cv_bridge and OpenCV are binaries built for one major version of numpy; a newer one breaks their import.
keep_numpy() {
  "$venv/bin/python" -c "$import_cv_bridge" && return
  package_install 'numpy<2' || true
  "$venv/bin/python" -c "$import_cv_bridge" ||
    echo "note: the installed cv_bridge or OpenCV does not import; images are converted without cv_bridge"
}
import_cv_bridge='
from importlib.util import find_spec
import numpy, cv2
if find_spec("cv_bridge"):
    from cv_bridge.boost.cv_bridge_boost import getCvType'
