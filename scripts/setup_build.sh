# SPDX-License-Identifier: Apache-2.0
# Bash, sourced by scripts/setup: builds the messages and the package with colcon, the small model's bundle, and imports what came
# of it. Uses its root, venv, stamps, is_sourced_ros, package_install and explain.
# shellcheck shell=bash disable=SC2154

colcon_build() {
  local variables=("VIRTUAL_ENV=$venv" "PATH=$venv/bin:$PATH")
  # Over the wheels nothing of the caller's environment may lead to another ROS 2 or an older build of this one.
  is_sourced_ros || variables=(-u PYTHONPATH -u LD_LIBRARY_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE
    "AMENT_PREFIX_PATH=$venv" "CMAKE_PREFIX_PATH=$venv" "${variables[@]}")
  env "${variables[@]}" "$venv/bin/python" -m colcon build --event-handlers console_direct+ --packages-select "$@"
}

# Over the wheels only what rclpy loads is made (PENGUIN_MSGS_PYTHON_ONLY, see penguin_msgs/CMakeLists.txt); an installed ROS 2 gets
# everything, for nodes in C++ too.
build_interfaces() {
  local ground options=(-DBUILD_TESTING=OFF
    "-DPython3_EXECUTABLE=$venv/bin/python" "-DPYTHON_EXECUTABLE=$venv/bin/python") # Humble reads the second
  is_sourced_ros || options+=(-G Ninja -DPENGUIN_MSGS_PYTHON_ONLY=ON)
  # cmake's cache and colcon's layout survive neither a moved checkout nor another ROS 2 or generator.
  ground="${fingerprints[install_ros]}"
  if [ "$(cat "$root/build/.ground" 2>/dev/null)" != "$ground" ]; then
    rm -rf "$root/build" "$root/install"
  fi
  colcon_build penguin_msgs --cmake-args "${options[@]}"
  printf '%s' "$ground" >"$root/build/.ground"
}

build_package() {
  colcon_build penguin_ros
  # For the command `penguin` without any environment, and for type checkers.
  package_install --no-deps --no-build-isolation --config-settings editable_mode=compat --editable "$root"
}

# Into the folder where scripts/demo looks for it; needs no ROS 2.
build_bundle() {
  PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" "$venv/bin/python" -c '
from penguin_ros.demo.nodes import DemoSettings, model_bundle

print(model_bundle(DemoSettings(seconds=0)))'
}

import_everything() {
  (
    set +eu
    # shellcheck source=scripts/env.sh disable=SC1091
    source "$root/scripts/env.sh" && python -c 'import penguin_ros, rclpy; from penguin_msgs.msg import Caption'
  )
}

check_imports() {
  import_everything >"$work/imports.log" 2>&1 || {
    touch "$work/failed"
    explain "what was built cannot be imported" "$(tail -n 1 "$work/imports.log") (all of it: $work/imports.log)" \
      "rm -rf .venv build install && ./scripts/setup"
  }
}
