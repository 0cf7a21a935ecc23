# SPDX-License-Identifier: Apache-2.0
"""A folder that appears whole or not at all. Knows names beside it, not what is put in.

It is filled under a temporary name and renamed at the end. What killed builds left behind goes away at the next one.
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penguin_ros.backends.bundle_manifest import MANIFEST
from penguin_ros.errors import BuildRefused

DRAFT, REPLACED = 'build', 'replaced'


@contextmanager
def draft_of(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`, which takes its place when the block ends without an exception.

    An older bundle is replaced only then; BuildRefused when `folder` holds anything else.
    """
    check_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clean(folder)
    draft = _beside(folder, DRAFT)
    draft.mkdir()
    try:
        yield draft
        _swap(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_target(folder: Path) -> None:
    """BuildRefused when a bundle put there would overwrite something that is none."""
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BuildRefused(f'{folder} exists and is no bundle', 'nothing but a bundle is replaced', 'Name another with --out')


def _swap(draft: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(draft, folder)
        return
    replaced = _beside(folder, REPLACED)
    os.rename(folder, replaced)
    os.rename(draft, folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _clean(folder: Path) -> None:
    """Drafts of processes that are gone; a bundle that was set aside by one of them comes back if nothing took its place."""
    for path in sorted(folder.parent.glob(f'.{folder.name}.*-*')):
        kind, _, process = path.name.removeprefix(f'.{folder.name}.').rpartition('-')
        if kind not in (DRAFT, REPLACED) or not process.isdecimal() or Path('/proc', process).exists():
            continue
        if kind == REPLACED and not folder.exists():
            os.rename(path, folder)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f'.{folder.name}.{kind}-{os.getpid()}')
