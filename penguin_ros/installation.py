# SPDX-License-Identifier: Apache-2.0
"""How a package gets into the Python that runs this process: the one place that words such
commands, for errors and for `penguin doctor`.

It imports nothing but the standard library, so that it works where everything else is missing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import site
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

PROJECT = 'penguin_ros'
OWN_VENV = '~/penguin_venv'
"""The virtual environment that is proposed where the Python itself takes no packages."""

DEBIAN_PACKAGES = {
    'numpy': 'python3-numpy',
    'pillow': 'python3-pil',
    'opencv-python-headless': 'python3-opencv',
    'PyYAML': 'python3-yaml',
    'rich': 'python3-rich',
    'matplotlib': 'python3-matplotlib',
}
"""What Debian and Ubuntu call packages that they have in a version that is new enough."""

NUMPY_1_PYTHONS = ('3.10', '3.12')
"""The Pythons of Ubuntu 22.04 and 24.04."""

_SCRIPT = Path('scripts') / 'setup'
_PLAIN = re.compile(r'[\w@%+=:,./~-]+')


@dataclass(frozen=True)
class Python:
    """What decides how a package is installed into a Python.

    `version` is major.minor. `checkout` is the folder of this repository where its files run from
    there and empty elsewhere, `source` what pip installed this package from. `has_system_numpy_1`:
    what pip installs must leave the numpy of the system its major version.
    """

    executable: str
    version: str = '3.12'
    is_venv: bool = False
    has_pip: bool = True
    is_conda: bool = False
    is_conda_base: bool = False
    is_externally_managed: bool = False
    is_debian: bool = False
    is_user_site_hidden: bool = False
    is_ros_sourced: bool = False
    has_system_numpy_1: bool = False
    checkout: str = ''
    source: str = PROJECT


def this_python() -> Python:
    """Looks at the Python that runs this process."""
    prefix = Path(sys.prefix)
    is_venv = sys.prefix != sys.base_prefix
    is_conda = (prefix / 'conda-meta').is_dir()
    is_ros_sourced = bool(os.environ.get('AMENT_PREFIX_PATH'))
    return Python(
        executable=sys.executable or 'python3',
        version=_version(),
        is_venv=is_venv,
        has_pip=importlib.util.find_spec('pip') is not None,
        is_conda=is_conda,
        is_conda_base=is_conda and (prefix / 'condabin').is_dir(),
        is_externally_managed=not is_venv and _is_externally_managed(),
        is_debian=sys.prefix == '/usr' and Path('/etc/debian_version').is_file(),
        is_user_site_hidden=not is_venv and _is_user_site_hidden(),
        is_ros_sourced=is_ros_sourced,
        has_system_numpy_1=is_ros_sourced and not is_conda and _has_system_numpy_1(),
        checkout=_checkout(),
        source=_source(),
    )


def install_command(
    *packages: str, options: Sequence[str] = (), python: Python | None = None
) -> str:
    """Returns the line for a shell that brings packages, each a name or a requirement such as
    `onnx>=1.19,<2`, into this Python; `options` are those of `pip install`.

    Where the Python takes no packages, the line makes a virtual environment, or calls scripts/setup
    of the checkout.
    """
    python = python or this_python()
    pip_arguments = [*options, *(requirement(package) for package in packages)]
    if python.has_system_numpy_1 and 'numpy' not in packages:
        pip_arguments.append('numpy<2')
    if python.is_venv or (python.is_conda and not python.is_conda_base):
        return _pip(python, pip_arguments)
    debian = [DEBIAN_PACKAGES.get(package, '') for package in packages]
    if python.is_debian and all(debian) and not options:
        return _joined('sudo', 'apt-get', 'install', *debian)
    if python.is_conda_base or python.is_externally_managed:
        return _elsewhere(python, pip_arguments)
    hidden = 'unset PYTHONNOUSERSITE && ' if python.is_user_site_hidden else ''
    return hidden + _pip(python, pip_arguments)


def replace_command(old: str | Sequence[str], new: str) -> str:
    """Returns the line for a shell that replaces packages whose files another one brings too; that
    one itself has to be among them where it is installed, since what it shares goes with them.
    """
    python = this_python()
    names = [old] if isinstance(old, str) else old
    remove = _joined(python.executable, '-m', 'pip', 'uninstall', '--yes', *names)
    return f'{remove} && {install_command(new, python=python)}'


def requirement(package: str) -> str:
    """Returns a package with the versions that this one demands, `onnx` as `onnx>=1.19,<2`; as it
    is where it names versions, or where the demands are not known.
    """
    bounds = demands().get(normalised(package), '')
    return f'{package}{bounds}'


def demands() -> dict[str, str]:
    """Returns the bounds of every package that setup.py names, by its normalised name; nothing
    where this package was not installed. Of several extras the first counts.
    """
    found: dict[str, str] = {}
    try:
        lines = distribution(PROJECT).requires or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        match = re.match(r'([\w.-]+)\s*\(?([<>=!~\d.,*\s]*)\)?', line)
        if match:
            bounds = sorted(filter(None, match[2].replace(' ', '').split(',')), reverse=True)
            found.setdefault(normalised(match[1]), ','.join(bounds))
    return found


def normalised(package: str) -> str:
    """Returns the name of a package as indexes compare it."""
    return re.sub('[-_.]+', '-', package).lower()


def _pip(python: Python, arguments: Sequence[str]) -> str:
    if not python.has_pip and shutil.which('uv'):
        return _joined('uv', 'pip', 'install', '--python', python.executable, *arguments)
    install = _joined(python.executable, '-m', 'pip', 'install', *arguments)
    if python.has_pip:
        return install
    ensure = (
        'sudo apt-get install python3-pip'
        if python.is_debian and not python.is_venv
        else _joined(python.executable, '-m', 'ensurepip')
    )
    return f'{ensure} && {install}'


def _elsewhere(python: Python, arguments: Sequence[str]) -> str:
    """The line for a Python whose packages belong to the system, or to conda itself."""
    if python.checkout:
        root = python.checkout
        return f'{_joined(f"{root}/{_SCRIPT}")} && {_joined("source", f"{root}/scripts/env.sh")}'
    if python.is_conda_base:
        return (
            f'conda create --name penguin python={python.version} pip && conda activate penguin && '
            + _joined('python', '-m', 'pip', 'install', python.source, *arguments)
        )
    pip = f'{OWN_VENV}/bin/python -m pip install'
    if python.is_ros_sourced:
        # The programs of a workspace run on the system's Python, which finds these by PYTHONPATH.
        folder = f'$HOME/{OWN_VENV[2:]}/lib/python{python.version}/site-packages'
        return (
            f'{_joined(python.executable)} -m venv --system-site-packages {OWN_VENV} && '
            f'{pip} {_joined(*arguments)} && export PYTHONPATH="{folder}:$PYTHONPATH"'
        )
    return (
        f'{_joined(python.executable)} -m venv {OWN_VENV} && '
        f'{pip} {_joined(python.source, *arguments)} && source {OWN_VENV}/bin/activate'
    )


def _is_user_site_hidden() -> bool:
    """True where pip would put packages among the user's own, which nothing then finds."""
    is_off = bool(os.environ.get('PYTHONNOUSERSITE')) and not site.ENABLE_USER_SITE
    return is_off and not os.access(sysconfig.get_path('purelib'), os.W_OK)


def _version() -> str:
    return f'{sys.version_info.major}.{sys.version_info.minor}'


def _has_system_numpy_1() -> bool:
    """True where OpenCV and cv_bridge of the system are seen, which were built for numpy 1, and
    which a numpy 2 of pip would break.
    """
    configuration = Path(sys.prefix) / 'pyvenv.cfg'
    is_closed = configuration.is_file() and re.search(
        r'(?im)^include-system-site-packages\s*=\s*false', configuration.read_text()
    )
    return sys.base_prefix == '/usr' and _version() in NUMPY_1_PYTHONS and not is_closed


def _is_externally_managed() -> bool:
    return (Path(sysconfig.get_path('stdlib')) / 'EXTERNALLY-MANAGED').is_file()


def _checkout() -> str:
    root = Path(__file__).resolve().parents[1]
    return str(root) if (root / _SCRIPT).is_file() else ''


def _source() -> str:
    """The folder or file that pip installed this package from, while it exists."""
    try:
        text = distribution(PROJECT).read_text('direct_url.json') or '{}'
    except PackageNotFoundError:
        return PROJECT
    address = urlsplit(json.loads(text).get('url', ''))
    path = unquote(address.path)
    return path if address.scheme == 'file' and Path(path).exists() else PROJECT


def _joined(*words: str) -> str:
    return ' '.join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    return shlex.quote(word) if re.search(r'["$`\\!]', word) else f'"{word}"'
