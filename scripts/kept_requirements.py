# SPDX-License-Identifier: Apache-2.0
"""Decides which requirements to install over an installed ROS 2: it leaves out what that, or a
Jetson image, already brings.

    kept_requirements.py REQUIREMENTS FOLDER
        writes FOLDER/requirements.txt, FOLDER/constraints.txt and FOLDER/overrides.txt

The overrides are for uv, which does not look at the system's packages and would install the kept
ones again as somebody's dependency.

Called by scripts/setup with the Python of a virtual environment that sees the system's packages.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
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

OLDEST_NUMPY = (1, 23, 5)
"""What onnx and onnxruntime ask for; Ubuntu 22.04 has 1.21.5. A newer release of the same major
version still loads what was built with an older one, as OpenCV and cv_bridge of the system were.
"""

NEVER = '; python_version < "3"'


def kept_lines(lines: list[str]) -> list[str]:
    """Returns the requirement lines whose package is not kept, without comments and blank lines."""
    stripped = [line.strip() for line in lines if line.strip() and not line.startswith('#')]
    wanted = [line for line in stripped if not is_present(name_of(line))]
    if any(name_of(line) == 'numpy' for line in wanted) and find_spec('numpy') is not None:
        wanted = [line for line in wanted if name_of(line) != 'numpy']
        wanted.insert(0, newer_numpy())
    return wanted


def name_of(line: str) -> str:
    """Returns the package that a requirement line names."""
    return re.split(r'[=<>;\[ ]', line, maxsplit=1)[0]


def is_present(requirement: str) -> bool:
    """True for a kept package that can be found; a numpy that is too old is not kept."""
    if requirement not in KEPT or find_spec(KEPT[requirement]) is None:
        return False
    return requirement != 'numpy' or numpy_version() >= OLDEST_NUMPY


def numpy_version() -> tuple[int, ...]:
    """Returns the release numbers of the numpy that this Python finds."""
    text = found_version('numpy') or str(import_module('numpy').__version__)
    return tuple(int(number) for number in re.findall(r'\d+', text)[:3])


def newer_numpy() -> str:
    """Returns the requirement of a numpy that is new enough, of the same major version."""
    oldest = '.'.join(str(number) for number in OLDEST_NUMPY)
    return f'numpy>={oldest},<{numpy_version()[0] + 1}'


def found_version(requirement: str) -> str | None:
    """Returns the version in the metadata of a package; Debian's OpenCV, say, has none."""
    try:
        return version(requirement)
    except PackageNotFoundError:
        return None


def constraints() -> list[str]:
    """Lines that stop the installer from replacing kept packages as somebody's dependency."""
    lines = []
    for requirement, module in KEPT.items():
        if is_present(requirement) and (found := found_version(requirement)):
            lines.append(f'{requirement}=={found}')
        elif requirement == 'numpy' and find_spec(module) is not None:
            lines.append(newer_numpy())
    return lines


def overrides() -> list[str]:
    """Lines that take kept packages out of what uv resolves."""
    return [f'{requirement}{NEVER}' for requirement in KEPT if is_present(requirement)]


def main() -> None:
    requirements, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (
        ('requirements', kept_lines(requirements.read_text().splitlines())),
        ('constraints', constraints()),
        ('overrides', overrides()),
    ):
        (folder / f'{name}.txt').write_text(''.join(f'{line}\n' for line in lines))


if __name__ == '__main__':
    main()
