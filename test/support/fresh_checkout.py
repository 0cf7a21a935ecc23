# SPDX-License-Identifier: Apache-2.0
"""A copy of this checkout in which nothing was built, and the environment of somebody who has never
set it up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def fresh_checkout(folder: Path) -> Path:
    """Copies what git knows or would add, as it is now, and links the shared folder beside it."""
    checkout = folder / 'penguin_ros'
    for name in _known_files(folder):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    if (ROOT.parent / 'shared').is_dir():
        (folder / 'shared').symlink_to((ROOT.parent / 'shared').resolve())
    return checkout


def _known_files(folder: Path) -> list[str]:
    """Returns what git does not ignore here, also where this is a copy without a repository: an
    empty one in `folder` is asked then.
    """
    repository: tuple[str, ...] = ()
    if not (ROOT / '.git').exists():
        repository = (f'--git-dir={folder}/empty.git', f'--work-tree={ROOT}')
        subprocess.run(['git', 'init', '-q', '--bare', f'{folder}/empty.git'], check=True)
    listing = ('ls-files', '-z', '--cached', '--others', '--exclude-standard')
    listed = subprocess.run(
        ['git', *repository, *listing], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split('\0') if name]


def newcomers_environment(folder: Path, **variables: str) -> dict[str, str]:
    """Returns this environment without ROS, this checkout's programs and all caches."""
    path = [part for part in os.environ['PATH'].split(':') if not (Path(part) / 'penguin').exists()]
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(('PIP_', 'SSL_', 'UV_', 'HOME', 'PYENV_'))
    }
    return {**kept, 'PATH': ':'.join(path), 'XDG_CACHE_HOME': f'{folder}/cache', **variables}


def can_install() -> bool:
    """Whether this machine reaches an index of packages."""
    command = [sys.executable, '-m', 'pip', 'index', 'versions', 'rich']
    return subprocess.run(command, capture_output=True, check=False, timeout=120).returncode == 0
