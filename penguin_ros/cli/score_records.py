# SPDX-License-Identifier: Apache-2.0
"""What was asked and answered, one record each, in memory and as lines of JSON. Knows no model and no statistics."""
from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from penguin_ros.errors import SettingError

CAPTION = 'caption'
"""The kind of a record that is a caption; all others are kinds of questions."""


@dataclass(frozen=True)
class Record:
    """One question, or one caption, of one scene.

    A question has `right` 0 or 1 of `wanted` 1, a caption facts: `right` of `claimed` are true, `wanted` were to be told.
    `blind` is what the same model answered to grey pictures, '' where it was not asked; `error` why there is no answer.
    """

    seed: int
    kind: str
    question: str
    expected: str
    given: str
    right: int
    claimed: int
    wanted: int
    blind: str = ''
    error: str = ''


def write_records(path: Path, records: Iterable[Record]) -> None:
    """One JSON object per line."""
    with path.open('w', encoding='utf-8') as file:
        for record in records:
            file.write(json.dumps(asdict(record), ensure_ascii=False) + '\n')


def read_records(path: Path) -> list[Record]:
    """What write_records wrote; SettingError for anything else."""
    try:
        return [Record(**json.loads(line)) for line in path.read_text(encoding='utf-8').splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise SettingError(f'cannot use {path}', str(error), 'Give a file that penguin score wrote with --answers') from error
