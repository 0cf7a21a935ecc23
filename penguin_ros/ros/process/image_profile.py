# SPDX-License-Identifier: Apache-2.0
"""Gives a process that publishes raw images the Fast DDS profile with room for them.

`use_image_profile` is to be called before rclpy is imported. Without the profile a writer's shared
memory has 512 KiB, and larger images overwrite themselves on their way.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
"""Fast DDS 2 reads the first, Fast DDS 3 the second."""
FAST_DDS_2 = ('humble', 'jazzy')
"""Distributions with Fast DDS 2; those after them warn at every start when they are given its
variable.
"""
RCLPY_WITH_FAST_DDS_3 = 8
"""The major version of rclpy after Jazzy's."""
SEGMENT_BYTES = 64 * 1024 * 1024

_FILE = Path('config') / 'fastdds_images.xml'
_SHARED_MEMORY = Path('/dev/shm')


def profile_variables() -> tuple[str, ...]:
    """Returns the variables that name a profile to the Fast DDS of this ROS distribution.

    The environment says which it is, or else the version of rclpy: the wheels of ROS 2 set no
    variable. Both, where neither can be told.
    """
    distribution = os.environ.get('ROS_DISTRO', '')
    if distribution:
        return VARIABLES[:1] if distribution in FAST_DDS_2 else VARIABLES[1:]
    try:
        major = int(version('rclpy').partition('.')[0])
    except (PackageNotFoundError, ValueError):
        return VARIABLES
    return VARIABLES[:1] if major < RCLPY_WITH_FAST_DDS_3 else VARIABLES[1:]


def use_image_profile() -> Path | None:
    """Points Fast DDS at our profile and returns its path.

    Returns None when the user's environment names a profile (an empty one too, which leaves the
    defaults), when another middleware is chosen, or when the file is not installed.
    """
    middleware = os.environ.get('RMW_IMPLEMENTATION', '')
    if any(variable in os.environ for variable in VARIABLES) or (
        middleware and 'fastrtps' not in middleware
    ):
        return None
    path = find_image_profile()
    if path is not None:
        os.environ.update(dict.fromkeys(profile_variables(), str(path)))
    return path


def find_image_profile() -> Path | None:
    """Returns the profile of this installation, if there is one.

    It is in the checkout, or in the share folder of an ament or Python prefix.
    """
    prefixes = [
        *filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)),
        sys.prefix,
    ]
    candidates = [Path(__file__).resolve().parents[3] / _FILE]
    candidates += [Path(prefix) / 'share' / 'penguin_ros' / _FILE for prefix in prefixes]
    return next((path for path in candidates if path.is_file()), None)


def shared_memory_shortage() -> str:
    """Returns a sentence when the machine has less shared memory than the profile wants, else ''.

    Containers have 64 MB by default.
    """
    try:
        facts = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return ''
    free = facts.f_bavail * facts.f_frsize
    if free > SEGMENT_BYTES:
        return ''
    return (
        f'{_SHARED_MEMORY} has {free // 2**20} MiB left, raw images need over '
        f'{SEGMENT_BYTES // 2**20}: they go through UDP, and many are lost. In a container, start '
        'it with --shm-size=1g or --ipc=host'
    )
