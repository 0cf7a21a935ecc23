# SPDX-License-Identifier: Apache-2.0
"""Gets `ros2`, `launch` and `launch_ros` beside the ROS 2 wheels, which lack them.

    python tools/get_ros_tools.py FOLDER

It clones the public repositories at the versions of Jazzy into FOLDER/src and installs them into
FOLDER, to be used after `source FOLDER/env.bash`; the checkout and its .venv stay as they are. It
needs git, cmake and a C++ compiler, and `source scripts/env.sh` before. With `--sources DIR` the
repositories are taken from DIR instead, one folder each, as they lie there.

Nothing of it is part of this package, and the tests in the cloud do not run it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Repository:
    """A public repository, the tag of it, and the folders of its Python packages."""

    url: str
    tag: str
    packages: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder that it is cloned into."""
        return self.url.rpartition('/')[2]


VERBS = ('action', 'doctor', 'interface', 'lifecycle', 'node', 'param', 'pkg', 'run')
REPOSITORIES = (
    Repository('https://github.com/osrf/osrf_pycommon', '2.1.6', ('.',)),
    Repository('https://github.com/ros2/rosidl_runtime_py', '0.13.1', ('.',)),
    Repository('https://github.com/ros2/launch', '3.4.3', ('launch', 'launch_xml', 'launch_yaml')),
    Repository('https://github.com/ros2/launch_ros', '0.26.6', ('launch_ros', 'ros2launch')),
    Repository(
        'https://github.com/ros2/ros2cli',
        '0.32.2',
        ('ros2cli', *(f'ros2{verb}' for verb in VERBS), 'ros2service', 'ros2topic'),
    ),
)
INTERFACES = Repository('https://github.com/ros2/rcl_interfaces', '2.0.2', ())
"""launch_ros imports its composition_interfaces, which is generated and compiled."""

ENVIRONMENT = """\
# Bash, to be sourced after scripts/env.sh of penguin_ros.
source "{folder}/interfaces/local_setup.bash"
export PYTHONPATH="{site}${{PYTHONPATH:+:$PYTHONPATH}}"
export PATH="{folder}/bin:$PATH"
export AMENT_PREFIX_PATH="{folder}:$AMENT_PREFIX_PATH"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Gets, builds and installs everything; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('folder', type=Path, help='where everything goes')
    parser.add_argument('--sources', type=Path, help='a folder with the repositories')
    given = parser.parse_args(arguments)
    folder = given.folder.expanduser().resolve()
    for program in ('git', 'cmake', 'colcon'):
        if shutil.which(program) is None:
            print(f'{program} is not found. Type: source scripts/env.sh', file=sys.stderr)
            return 2
    sources = given.sources or folder / 'src'
    for command in commands(folder, sources, is_cloned=given.sources is None):
        print('$', *command, flush=True)
        code = subprocess.run(command).returncode
        if code:
            print(f'that failed with exit code {code}', file=sys.stderr)
            return 1
    text = ENVIRONMENT.format(folder=folder, site=site_packages(folder))
    (folder / 'env.bash').write_text(text, encoding='utf-8')
    print(f'Type: source {folder / "env.bash"}')
    return 0


def commands(folder: Path, sources: Path, *, is_cloned: bool) -> list[list[str]]:
    """Returns the commands, in order; a repository that lies in `sources` is not cloned again."""
    wanted = (*REPOSITORIES, INTERFACES)
    missing = [one for one in wanted if is_cloned and not (sources / one.name).exists()]
    return [
        *(clone(repository, sources) for repository in missing),
        interfaces(folder, sources),
        *install(folder, sources),
    ]


def clone(repository: Repository, sources: Path) -> list[str]:
    """Returns the command that clones a repository at its tag, without its history."""
    target = str(sources / repository.name)
    one_commit = ['--quiet', '--depth', '1', '--branch', repository.tag]
    return ['git', '-c', 'advice.detachedHead=false', 'clone', *one_commit, repository.url, target]


def interfaces(folder: Path, sources: Path) -> list[str]:
    """Returns the command that builds composition_interfaces into FOLDER/interfaces."""
    package = sources / INTERFACES.name / 'composition_interfaces'
    return [
        *('colcon', '--log-base', str(folder / 'log'), 'build', '--merge-install'),
        *('--base-paths', str(package)),
        *('--build-base', str(folder / 'build')),
        *('--install-base', str(folder / 'interfaces')),
        *('--cmake-args', '-DBUILD_TESTING=OFF'),
    ]


def install(folder: Path, sources: Path) -> list[list[str]]:
    """Returns the commands that install the Python packages, without what they depend on."""
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--ignore-installed']
    paths = [
        str(sources / repository.name / package)
        for repository in REPOSITORIES
        for package in repository.packages
    ]
    return [[*pip, '--prefix', str(folder), *paths]]


def site_packages(folder: Path) -> Path:
    """Returns where pip puts modules below the folder."""
    version = f'python{sys.version_info.major}.{sys.version_info.minor}'
    return folder / 'lib' / version / 'site-packages'


if __name__ == '__main__':
    sys.exit(main())
