# SPDX-License-Identifier: Apache-2.0
"""What `penguin bench board` chose for a board, as a value that a report holds and that `penguin
build --profile` reads. Nothing heavy is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penguin_ros.errors import SettingError
from penguin_ros.plain_values import PlainFormat, from_plain

FORMAT = PlainFormat(has_defaults=True)


@dataclass(frozen=True)
class BoardProfile:
    """What `penguin build` is to take: the values of its options by their names, '' or 0 where
    nothing was found out; `forms` are the builder's names of the forms of each part that were
    fastest, the best first; `reasons` say why. `backend` is which of two bundles that are there to
    run.
    """

    precision: str = ''
    head: str = ''
    compute: str = ''
    variant: str = ''
    decode: str = ''
    backend: str = ''
    softmax: str = ''
    max_patches: int = 0
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def read_profile(path: Path) -> BoardProfile:
    """Returns the choice in a report; SettingError when the file is none."""
    try:
        plain = json.loads(path.read_text(encoding='utf-8'))
        found: BoardProfile = from_plain(BoardProfile, plain['profile'], 'profile', FORMAT)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingError(
            f'--profile {path} cannot be read',
            str(error).partition('\n')[0] or type(error).__name__,
            f'Write it on the board: penguin bench board --report {path}',
        ) from error
    return found
