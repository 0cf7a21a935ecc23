# SPDX-License-Identifier: Apache-2.0
"""The image that a demo leaves, and the row of a caption on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.old_pillow import run_with_old_pillow

from penguin_ros.demo.row import ShownCaption, claim_texts, is_perfect, print_row, verdict
from penguin_ros.demo.sheet import GREEN, RED, SCENES, Sheet, write_sheet
from penguin_ros.errors import PenguinError
from penguin_ros.simulation.scoring import CaptionScore

SECOND = 10**9
RED_BOX, COUNT = ('thing', 'red', 'box', 'left'), ('count', 2)
ORDER = ('order', ('red', 'box'), ('blue', 'ball'))


def caption(
    number: int = 0, wrong: frozenset[tuple[object, ...]] = frozenset(), text: str = 'A caption.'
) -> ShownCaption:
    stamps = tuple(SECOND * (10 * number + step) for step in range(4))
    return ShownCaption(
        number,
        text,
        'The truth.',
        stamps,
        CaptionScore(2, 2 + len(wrong), 3, True),
        frozenset((RED_BOX, COUNT)),
        wrong,
        frozenset((ORDER,)) if wrong else frozenset(),
    )


def jpeg(grey: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((112, 168, 3), grey, np.uint8)).save(stream, 'JPEG')
    return stream.getvalue()


def drawn(path: Path, captions: list[ShownCaption]) -> np.ndarray:
    images = {
        stamp: jpeg(60 * place) for item in captions for place, stamp in enumerate(item.stamps_ns)
    }
    return np.asarray(
        Image.open(write_sheet(Sheet('Title', captions, images, [('in all', 'Footer')]), path))
    )


def has(page: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((page == colour).all(-1).any())


def test_frames_are_drawn_in_their_order_with_a_chip_for_each_fact(tmp_path: Path) -> None:
    page = drawn(tmp_path / 'sheet.png', [caption()])
    row = page[150]  # through the first scene's frames
    assert [int(row[left, 0]) for left in (100, 400, 700, 1000)] == pytest.approx(
        [0, 60, 120, 180], abs=3
    )
    assert has(page, GREEN) and not has(page, RED)
    assert has(drawn(tmp_path / 'sheet.png', [caption(wrong=frozenset((ORDER,)))]), RED)


def test_the_first_scenes_are_drawn_whatever_they_score(tmp_path: Path) -> None:
    heights = [
        len(drawn(tmp_path / 'sheet.png', [caption(number) for number in range(count)]))
        for count in (1, 2, SCENES, SCENES + 3)
    ]
    assert heights[1] > heights[0] and heights[2] == heights[3]


def test_a_long_caption_takes_more_lines_but_not_the_page(tmp_path: Path) -> None:
    short, long, endless = (
        drawn(tmp_path / 'sheet.png', [caption(text='word ' * words)]) for words in (3, 60, 6000)
    )
    assert len(short) < len(long) <= len(endless) < len(short) + 100


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(PenguinError, match='nowhere'):
        write_sheet(Sheet('Title', [caption()], {}, []), tmp_path / 'nowhere' / 'sheet.png')


def test_claims_are_words_things_first() -> None:
    assert claim_texts([ORDER, COUNT, RED_BOX]) == [
        'red box: left',
        '2 in all',
        'red box before blue ball',
    ]


def test_a_row_says_what_was_wrong_and_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    print_row(caption(wrong=frozenset((('thing', 'green', 'cone', 'still'),))))
    lines = capsys.readouterr().out.split('\n\n')[0].splitlines()
    assert lines[0] == 'scene 1  0.0 – 3.0 s: 2 of 3 facts right, 1 missed'
    assert [line.split()[0] for line in lines[1:]] == ['caption', 'truth', 'wrong', 'missed']
    assert 'green cone: still' in lines[3] and 'red box before blue ball' in lines[4]


def test_a_perfect_caption_is_one_row_without_complaints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_row(caption())
    assert is_perfect(caption()) and len(capsys.readouterr().out.strip().splitlines()) == 3
    nothing: frozenset[tuple[object, ...]] = frozenset()
    assert 'not a sentence' in verdict(
        ShownCaption(0, '', '', (0, 1), CaptionScore(0, 0, 1, False), nothing, nothing, nothing)
    )


def test_the_sheet_is_drawn_with_pillow_9_0(tmp_path: Path) -> None:
    run_with_old_pillow(
        'import pathlib\n'
        'from demo.test_sheet import caption, drawn\n'
        f'path = pathlib.Path({str(tmp_path)!r}, "sheet.png")\n'
        'drawn(path, [caption(text="“Red” – she’s … 箱 Größe")])'
    )
    assert (tmp_path / 'sheet.png').stat().st_size > 1000
