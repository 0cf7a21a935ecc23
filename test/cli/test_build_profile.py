# SPDX-License-Identifier: Apache-2.0
"""`penguin build --profile` takes what a board chose for whatever was left out; --golden."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from penguin_ros.backends.base.bundle import read_manifest
from penguin_ros.cli.build_arguments import fill_defaults
from penguin_ros.cli.main import parser
from penguin_ros.errors import BuildRefused, SettingError

CHOSEN = {
    'precision': 'int4',
    'head': 'float16',
    'variant': 'two_part',
    'max_patches': 1024,
    'forms': {'decoder': ['decoder: two_part, decoding 1 to 8 tokens']},
}


def parsed(folder: Path, *words: str, **profile: Any) -> argparse.Namespace:
    file = folder / 'board.json'
    file.write_text(json.dumps({'format': 1, 'profile': {**CHOSEN, **profile}}))
    arguments = parser('build').parse_args(['build', 'X', '--profile', str(file), *words])
    fill_defaults(arguments)
    return arguments


def test_what_is_left_out_comes_from_the_board(tmp_path: Path) -> None:
    arguments = parsed(tmp_path)
    assert arguments.backend == 'tensorrt'
    assert (arguments.precision, arguments.head, arguments.variant, arguments.max_patches) == (
        'int4',
        'float16',
        'two_part',
        1024,
    )
    assert arguments.forms == {'decoder': ('decoder: two_part, decoding 1 to 8 tokens',)}


def test_what_is_given_counts(tmp_path: Path) -> None:
    arguments = parsed(tmp_path, '--head', 'int4', '--max-patches', '512')
    assert (arguments.precision, arguments.head, arguments.max_patches) == ('int4', 'int4', 512)


def test_what_was_not_measured_follows_the_defaults(tmp_path: Path) -> None:
    arguments = parsed(tmp_path, precision='', head='', variant='', max_patches=0)
    assert arguments.precision and arguments.variant == 'auto' and arguments.max_patches > 0


@pytest.mark.parametrize('content', ['', '{}', '[]', '{"profile": {"precision": 4}}'])
def test_a_file_that_is_no_report_is_refused_with_the_command(content: str, tmp_path: Path) -> None:
    file = tmp_path / 'board.json'
    file.write_text(content)
    arguments = parser('build').parse_args(['build', 'X', '--profile', str(file)])
    with pytest.raises(SettingError, match='penguin bench board --report'):
        fill_defaults(arguments)


def test_forms_that_a_board_found_fast_are_tried_first(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.bundles import tensorrt_bundle
    from support.fake_gpu.installed import Machine, remove, use

    manifest = read_manifest(tensorrt_bundle(tiny_checkpoint, tmp_path / 'b', 'int4', 256))
    use(Machine())
    try:
        from penguin_ros.export.tensorrt.candidates import candidates, preferred

        tried = candidates('decoder', manifest)
        names = [str(one) for one in tried]
        best = names[-1]
        ordered = [str(one) for one in preferred(tried, (best, 'unknown'))]
        assert ordered == [best, *names[:-1]]
    finally:
        remove()


def test_golden_values_are_refused_for_another_backend() -> None:
    from penguin_ros.cli.build import check_golden

    arguments = parser('build').parse_args(['build', 'X', '--golden'])
    with pytest.raises(BuildRefused, match='Add --backend tensorrt'):
        check_golden(arguments)


def test_golden_values_lie_in_the_bundle(tiny_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    from penguin_ros.board.golden import read_golden
    from penguin_ros.cli.main import main

    words = ['--backend', 'tensorrt', '--precision', 'int4', '--max-length', '272', '--golden']
    out = tmp_path / 'bundle'
    words += ['--graphs-only', '--out', str(out)]
    assert main(['build', str(tiny_checkpoint), *words]) == 0
    golden = read_golden(out)
    assert golden is not None and golden.is_finite
    assert golden.features.shape[1] == 64 and len(golden.best) > 8
