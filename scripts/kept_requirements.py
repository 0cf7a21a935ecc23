# SPDX-License-Identifier: Apache-2.0
"""Decides which requirements to install over an installed ROS 2: it leaves out what that, or a
Jetson image, already brings.

    kept_requirements.py REQUIREMENTS FOLDER
        writes FOLDER/requirements.txt and FOLDER/constraints.txt

Called by scripts/setup with the Python of a virtual environment that sees the system's packages.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

KEPT = {
    'numpy': 'numpy',
    'opencv-python-headless': 'cv2',
    'torch': 'torch',
    'colcon-common-extensions': 'colcon_ros',
}
"""The module that stands for each requirement. These are binaries built for each other or for the
machine, which a second copy would hide.
"""


def kept_lines(lines: list[str]) -> list[str]:
    """Returns the requirement lines whose package is not kept, without comments and blank lines."""
    stripped = [line.strip() for line in lines if line.strip() and not line.startswith('#')]
    return [line for line in stripped if not is_present(line.split('==')[0])]


def is_present(requirement: str) -> bool:
    """True for a kept package that can be found."""
    return requirement in KEPT and find_spec(KEPT[requirement]) is not None


def constraints() -> list[str]:
    """Lines that stop pip from replacing kept packages as somebody's dependency."""
    lines = []
    for requirement, module in KEPT.items():
        if find_spec(module) is not None:
            try:
                lines.append(f'{requirement}=={version(requirement)}')
            except PackageNotFoundError:  # Debian's OpenCV, say, has no metadata
                continue
    return lines


def main() -> None:
    requirements, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (
        ('requirements', kept_lines(requirements.read_text().splitlines())),
        ('constraints', constraints()),
    ):
        (folder / f'{name}.txt').write_text(''.join(f'{line}\n' for line in lines))


if __name__ == '__main__':
    main()
