# SPDX-License-Identifier: Apache-2.0
"""`penguin caption`: clips of a recording and what comes out of them."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from recording.test_bag import START, write_bag

from penguin_ros.cli import exits, main
from penguin_ros.cli.caption import clips
from penguin_ros.frame import Frame

SECOND = 1_000_000_000
IMAGE = np.zeros((28, 28, 3), np.uint8)


def times(found: list[tuple[int, list[Frame]]]) -> list[list[float]]:
    return [[(frame.stamp_ns - origin) / SECOND for frame in clip] for origin, clip in found]


def test_a_recording_is_cut_into_consecutive_clips() -> None:
    frames = [(5 * SECOND + index * SECOND // 2, IMAGE) for index in range(9)]
    found = list(clips(frames, 2.0, 0.0, float('inf')))
    assert times(found) == [[0.0, 0.5, 1.0, 1.5], [2.0, 2.5, 3.0, 3.5], [4.0]]


def test_start_and_end_limit_what_is_described() -> None:
    frames = [(index * SECOND, IMAGE) for index in range(10)]
    assert times(list(clips(frames, 2.0, 3.0, 7.0))) == [[3.0, 4.0], [5.0, 6.0]]


def test_a_change_of_size_cuts_the_clip() -> None:
    wide = np.zeros((28, 56, 3), np.uint8)
    frames = [(0, IMAGE), (SECOND // 4, wide), (SECOND // 2, wide)]
    assert times(list(clips(frames, 2.0, 0.0, float('inf')))) == [[0.0], [0.25, 0.5]]


def test_no_frames_give_no_clips() -> None:
    assert list(clips([], 2.0, 0.0, float('inf'))) == []


def test_real_video_through_the_real_network(golden_dir: Path, video_path: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    subtitles = tmp_path / 'captions.srt'
    code = main.main(['caption', str(video_path), '--checkpoint', str(golden_dir / 'checkpoint'), '--json', '--end', '5',
                      '--clip-seconds', '2', '--max-tokens', '8', '--srt', str(subtitles), '--visual-tokens', '128'])
    captions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == exits.DONE
    assert [caption['start'] for caption in captions] == pytest.approx([0.0, 2.0, 4.0], abs=0.1)
    assert all(caption['error'] is None and caption['stamps_ns'] == sorted(caption['stamps_ns']) for caption in captions)
    assert all(0 < caption['tokens']['generated'] <= 8 and 0 < caption['tokens']['visual'] <= 128 for caption in captions)
    assert subtitles.read_text().count(' --> ') == 3


def test_without_a_model_the_option_to_type_is_named(video_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(['caption', str(video_path)]) == exits.UNUSABLE
    assert '--checkpoint' in capsys.readouterr().err


@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
def test_a_bag_is_described_with_the_stamps_of_its_messages(tiny_checkpoint: Path, tmp_path: Path, storage: str,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', ('/camera/image_raw',), storage=storage)
    code = main.main(['caption', str(bag), '--checkpoint', str(tiny_checkpoint), '--json', '--clip-seconds', '1',
                      '--max-tokens', '4', '--set', 'model.threads=1'])
    captions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == exits.DONE
    assert [caption['stamps_ns'] for caption in captions] == [[START, START + SECOND // 2],
                                                              [START + SECOND, START + 3 * SECOND // 2]]
