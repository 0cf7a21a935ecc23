# SPDX-License-Identifier: Apache-2.0
"""The package as somebody without ROS gets it: built from its source archive, installed by pip into
an empty virtual environment, used in a folder far from any checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fresh_checkout import ROOT, can_install, fresh_checkout

LIMIT_S = 500


@dataclass(frozen=True)
class Packages:
    """What was built, and the Python that has the tools for it."""

    archive: Path
    wheel: Path
    tools: Path


@dataclass(frozen=True)
class UserInstall:
    """A virtual environment with the package, and the folder in which its user works."""

    venv: Path
    folder: Path

    @property
    def python(self) -> Path:
        """Returns the Python of the environment."""
        return self.venv / 'bin' / 'python'

    def run(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a program of the environment with no more variables than a login has."""
        home = self.folder / 'home'
        home.mkdir(exist_ok=True)
        environment = {
            'PATH': f'{self.venv}/bin:/usr/bin:/bin',
            'HOME': str(home),
            'LANG': 'C.UTF-8',
        }
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def penguin(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs the command `penguin`."""
        return self.run(self.venv / 'bin' / 'penguin', *words, **variables)


def build_packages(folder: Path) -> Packages:
    """Builds the source archive, and the wheel from it; the test is skipped where no package can be
    had.
    """
    if not can_install():
        pytest.skip('no index of packages is reached')
    tools = _venv(folder / 'tools')
    install(Packages(folder, folder, tools), tools, 'build', 'uv')
    source = fresh_checkout(folder / 'source')
    _checked([tools, '-m', 'build', '--outdir', folder / 'built', source])
    (archive,) = (folder / 'built').glob('*.tar.gz')
    (wheel,) = (folder / 'built').glob('*.whl')
    return Packages(archive, wheel, tools)


def user_install(packages: Packages, folder: Path, extras: str) -> UserInstall:
    """Installs the wheel with extras, such as `[bag]`, into an empty environment."""
    python = _venv(folder / 'venv')
    (folder / 'work').mkdir()
    made = UserInstall(folder / 'venv', folder / 'work')
    install(packages, python, f'{packages.wheel}{extras}')
    return made


def install(packages: Packages, python: Path, *requirements: str) -> None:
    """Installs with uv, which is fast, or with pip before there is one."""
    uv = packages.tools.with_name('uv')
    if not uv.exists():
        _checked([python, '-m', 'pip', 'install', '--quiet', *requirements])
        return
    settings = _checked([sys.executable, ROOT / 'scripts' / 'installer_settings.py']).splitlines()
    variables = {**os.environ, **dict(line.split('=', 1) for line in settings)}
    _checked([uv, 'pip', 'install', '--quiet', '--python', python, *requirements], variables)


def _venv(folder: Path) -> Path:
    _checked([sys.executable, '-m', 'venv', folder])
    return folder / 'bin' / 'python'


def _checked(words: list[str | Path], variables: dict[str, str] | None = None) -> str:
    """Runs a program outside of ROS and of this checkout; returns what it prints."""
    environment = {
        name: value
        for name, value in (variables or dict(os.environ)).items()
        if name not in ('PYTHONPATH', 'LD_LIBRARY_PATH', 'VIRTUAL_ENV')
    }
    done = subprocess.run(
        [str(word) for word in words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
