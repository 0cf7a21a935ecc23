# SPDX-License-Identifier: Apache-2.0
"""`penguin caption`: clips of a recording and what comes out of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bags import START, write_bag
from support.blocked_libraries import environment_without

from penguin_ros.cli import exit_codes, main
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


def test_real_video_through_the_real_network(
    golden_dir: Path, video_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subtitles = tmp_path / 'captions.srt'
    code = main.main(
        [
            'caption',
            str(video_path),
            '--checkpoint',
            str(golden_dir / 'checkpoint'),
            '--json',
            '--end',
            '5',
            '--clip-seconds',
            '2',
            '--max-tokens',
            '8',
            '--srt',
            str(subtitles),
            '--visual-tokens',
            '128',
        ]
    )
    captions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == exit_codes.DONE
    assert [caption['start'] for caption in captions] == pytest.approx([0.0, 2.0, 4.0], abs=0.1)
    assert all(
        caption['error'] is None and caption['stamps_ns'] == sorted(caption['stamps_ns'])
        for caption in captions
    )
    assert all(
        0 < caption['tokens']['generated'] <= 8 and 0 < caption['tokens']['visual'] <= 128
        for caption in captions
    )
    assert subtitles.read_text().count(' --> ') == 3


def captioned(video: Path, folder: Path, *words: str) -> list[dict[str, Any]]:
    """The captions of two clips, from a process in which torch cannot be imported; bundles are kept
    in `folder`.
    """
    command = [
        sys.executable,
        '-m',
        'penguin_ros.cli.main',
        'caption',
        str(video),
        '--json',
        '--end',
        '4',
        '--clip-seconds',
        '2',
        '--max-tokens',
        '6',
        '--visual-tokens',
        '64',
        '--set',
        'model.threads=1',
        *words,
    ]
    environment = {
        **os.environ,
        **environment_without(folder / 'blocked', 'torch'),
        'XDG_CACHE_HOME': str(folder),
    }
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == exit_codes.DONE, done.stderr
    assert 'onnxruntime, cpu, float32' in done.stderr
    captions = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(captions) == 2 and all(
        caption['error'] is None and caption['tokens']['generated'] for caption in captions
    )
    return captions


def test_a_bundle_describes_a_video_without_torch(
    tiny_checkpoint: Path, video_path: Path, tmp_path: Path
) -> None:
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    from penguin_ros.checkpoint.checkpoint import open_checkpoint
    from penguin_ros.export.build import BuildOrder, build_bundle

    bundle = build_bundle(open_checkpoint(tiny_checkpoint), tmp_path / 'bundle', BuildOrder())
    captioned(video_path, tmp_path, '--bundle', str(bundle))


def test_a_checkpoint_without_torch_is_built_once_and_kept(
    tiny_checkpoint: Path, video_path: Path, tmp_path: Path
) -> None:
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    first = captioned(video_path, tmp_path, '--checkpoint', str(tiny_checkpoint))
    (kept,) = (tmp_path / 'penguin_ros' / 'bundles').iterdir()
    built_at = (kept / 'bundle.yaml').stat().st_mtime_ns
    second = captioned(video_path, tmp_path, '--checkpoint', str(tiny_checkpoint))
    assert [caption['text'] for caption in first] == [caption['text'] for caption in second]
    assert (
        [(kept / 'bundle.yaml').stat().st_mtime_ns]
        == [each.joinpath('bundle.yaml').stat().st_mtime_ns for each in kept.parent.iterdir()]
        == [built_at]
    )


def test_without_a_model_the_option_to_type_is_named(
    video_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(['caption', str(video_path)]) == exit_codes.UNUSABLE
    assert '--checkpoint' in capsys.readouterr().err


@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
def test_a_bag_is_described_with_the_stamps_of_its_messages(
    tiny_checkpoint: Path, tmp_path: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / 'bag', ('/camera/image_raw',), storage=storage)
    code = main.main(
        [
            'caption',
            str(bag),
            '--checkpoint',
            str(tiny_checkpoint),
            '--json',
            '--clip-seconds',
            '1',
            '--max-tokens',
            '4',
            '--set',
            'model.threads=1',
        ]
    )
    captions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == exit_codes.DONE
    assert [caption['stamps_ns'] for caption in captions] == [
        [START, START + SECOND // 2],
        [START + SECOND, START + 3 * SECOND // 2],
    ]
