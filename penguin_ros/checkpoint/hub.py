# SPDX-License-Identifier: Apache-2.0
"""Hub ids to folders. The only file that knows huggingface_hub, and it runs none of a repository's code."""
from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from penguin_ros.errors import HubUnavailable


def is_hub_id(source: str) -> bool:
    """Whether `source` reads as `owner/name` or `owner/name@revision`."""
    return re.fullmatch(r'\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?', source, re.ASCII) is not None


def hub_name(folder: Path) -> str:
    """`owner/name` when `folder` is a snapshot in the hub's cache, else empty."""
    parts = folder.resolve().parts
    match = re.fullmatch(r'models--(.+?)--(.+)', parts[-3]) if len(parts) > 3 and parts[-2] == 'snapshots' else None
    return f'{match[1]}/{match[2]}' if match else ''


def download_checkpoint(source: str, progress: Callable[[str], None]) -> Path:
    raise HubUnavailable(f'{source} cannot be downloaded')


def download_file(source: str, name: str, progress: Callable[[str], None], otherwise: str) -> Path:
    raise HubUnavailable(f'{source} cannot be downloaded', fix=otherwise)
