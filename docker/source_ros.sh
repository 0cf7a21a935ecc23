# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Bash, sourced by the scripts beside it: sources the ROS 2 of the image, if it is not yet. Some images install it under
# /opt/ros/<distro>, others build it there below install.
if [ -z "${AMENT_PREFIX_PATH:-}" ]; then
  for _setup in "/opt/ros/${ROS_DISTRO:-*}"/setup.bash "/opt/ros/${ROS_DISTRO:-*}"/install/setup.bash; do
    # shellcheck disable=SC2086 # the star is meant
    for _found in $_setup; do
      # shellcheck disable=SC1090
      [ ! -f "$_found" ] || { source "$_found" && break 2; }
    done
  done
  unset _setup _found
fi
