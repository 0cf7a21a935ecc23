# SPDX-License-Identifier: Apache-2.0
"""`penguin index` says which recordings it does not take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penguin_ros.cli.main import main
from penguin_ros.frame import Frame
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.store import Store
from penguin_ros.request import Answer


class Runner:
    def __init__(self, config: Any) -> None: ...

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None: ...

    def caption(self, clip: Sequence[Frame]) -> Answer:
        return Answer('', '', '', f'grey {clip[0].image[0, 0, 0]}')


def test_of_two_films_of_one_name_the_second_is_named_and_not_taken_for_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    films = []
    for day in ('monday', 'tuesday'):
        (tmp_path / day).mkdir()
        films.append(str(tmp_path / day / 'front.avi'))
        writer = cv2.VideoWriter(films[-1], cv2.VideoWriter_fourcc(*'MJPG'), 4, (64, 48))
        for number in range(12):
            writer.write(np.full((48, 64, 3), number, np.uint8))
        writer.release()
    monkeypatch.setattr('penguin_ros.evaluation.offline.OfflineRunner', Runner)
    monkeypatch.setattr('penguin_ros.evaluation.offline.with_model', lambda config, *_: config)
    store = str(tmp_path / 'memory')
    assert main(['index', *films, films[0], '--store', store, '--words']) == 1
    out, error = capsys.readouterr()
    assert 'tuesday/front.avi left out' in error and 'monday/front.avi' in error
    assert out.count('1 clip captioned') == 1 and out.count('1 known before') == 1
    with Store.open(Path(store), is_read_only=True) as memory:
        assert len(memory.recall(Filter(limit=10)).hits) == 1
