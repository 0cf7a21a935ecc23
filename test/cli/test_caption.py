# SPDX-License-Identifier: Apache-2.0
"""`penguin caption`: real recordings through the real network, with and without PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.bags import START, write_bag
from support.blocked_libraries import environment_without

from penguin_ros.cli import exit_codes, main

SECOND = 1_000_000_000


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
    """Makes the captions of two clips in a process in which torch cannot be imported. Bundles are
    kept in `folder`.
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
