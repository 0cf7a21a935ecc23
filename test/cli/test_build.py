# SPDX-License-Identifier: Apache-2.0
"""`penguin build`: its options, what it prints, and what Ctrl-C and wrong options leave behind."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.cli import exit_codes
from penguin_ros.cli.main import main, parser

pytest.importorskip('onnx', reason='onnx is not installed')
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the bundles of a test in its folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    'backend, precision', [('onnxruntime', 'float32'), ('tensorrt', 'float16')]
)
def test_without_options_the_bundle_lies_under_engines(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str], backend: str, precision: str
) -> None:
    assert (
        main(['build', str(tiny_checkpoint), '--backend', backend, '--graphs-only'])
        == exit_codes.DONE
    )
    folder = Path('engines') / f'tiny_{backend}_{precision}'
    manifest = open_bundle(folder).manifest
    assert (manifest.backend, manifest.precision.linears, manifest.max_length) == (
        backend,
        precision,
        4096,
    )
    shown = capsys.readouterr()
    assert shown.out.startswith(f'{folder}: tiny, {backend}, {precision}, ')
    assert [
        line
        for line in shown.err.splitlines()
        if line in ('… encoder', '… LLM', '… embedding table', '… checksums')
    ] == ['… encoder', '… LLM', '… embedding table', '… checksums']
    assert 'of disk' in shown.err and 'of memory' in shown.err


def test_the_command_in_the_manifest_builds_the_same_again(tiny_checkpoint: Path) -> None:
    main(
        [
            'build',
            str(tiny_checkpoint),
            '--precision',
            'int4',
            '--head',
            'int4',
            '--vision',
            'float32',
            '--max-length',
            '128',
            '--head-parts',
            '3',
            '--out',
            'a folder',
        ]
    )
    first = open_bundle('a folder').manifest
    words = shlex.split(first.command)
    assert words[:2] == ['penguin', 'build']
    assert main([*words[1:-1], 'again']) == exit_codes.DONE
    again = open_bundle('again').manifest
    assert (again.files, again.graphs, again.precision) == (
        first.files,
        first.graphs,
        first.precision,
    )
    assert (first.precision.head, first.precision.vision, first.max_length) == (
        'int4',
        'float32',
        128,
    )


def test_a_bundle_is_built_over_an_older_one(tiny_checkpoint: Path) -> None:
    for precision in ('float32', 'int8'):
        assert (
            main(['build', str(tiny_checkpoint), '--precision', precision, '--out', 'b'])
            == exit_codes.DONE
        )
    assert open_bundle('b').manifest.precision.linears == 'int8'


def test_a_length_beyond_the_context_of_the_model_is_cut_and_said(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(['build', str(tiny_checkpoint), '--max-length', '1000000', '--out', 'b'])
        == exit_codes.DONE
    )
    assert 'KV slots get 4096 positions' in capsys.readouterr().err
    assert open_bundle('b').manifest.max_length == 4096


@pytest.mark.parametrize(
    'words, error',
    [
        (['--precision', 'bfloat16'], 'bfloat16 does not run on the CPU'),
        (['--precision', 'int4', '--head', 'float16'], 'the head cannot be float16'),
        (['--max-length', '0'], 'max_length 0'),
        (['--out', 'occupied'], 'occupied exists and is no bundle'),
    ],
)
def test_a_refusal_says_why_and_what_to_type(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str], words: list[str], error: str
) -> None:
    Path('occupied').mkdir()
    Path('occupied', 'thesis.txt').touch()
    assert main(['build', str(tiny_checkpoint), *words]) == exit_codes.UNUSABLE
    shown = capsys.readouterr().err
    assert error in shown and 'why:' in shown
    assert not Path('engines').exists()


def test_no_checkpoint_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['build', './nowhere']) == exit_codes.UNUSABLE
    assert 'no checkpoint' in capsys.readouterr().err


def test_without_onnx_the_command_that_installs_it_is_shown(tiny_checkpoint: Path) -> None:
    code = (
        'import sys; sys.modules["onnx"] = None\n'
        'from penguin_ros.cli.main import main\n'
        f'sys.exit(main(["build", {str(tiny_checkpoint)!r}]))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == exit_codes.UNUSABLE
    assert (
        'Type: ' in done.stderr
        and 'pip install ' in done.stderr
        and 'onnx' in done.stderr
        and 'Traceback' not in done.stderr
    )


@pytest.mark.parametrize('precision', ['int2', 'INT4', ''])
def test_unknown_formats_are_wrong_usage(precision: str) -> None:
    with pytest.raises(SystemExit) as stop:
        parser('build').parse_args(['build', 'x', '--precision', precision])
    assert stop.value.code == exit_codes.UNUSABLE


@pytest.mark.parametrize('is_first', [True, False], ids=['the first build', 'over an older one'])
def test_interrupting_leaves_what_was_there_before(
    tiny_checkpoint: Path, tmp_path: Path, is_first: bool
) -> None:
    if not is_first:
        main(['build', str(tiny_checkpoint), '--out', 'b'])
    before = {path.name: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    code = f"""
import time
from penguin_ros.cli.main import main
from penguin_ros.export import build

def write_manifest(folder, manifest):
    print("nearly done", flush=True)
    time.sleep(100)

build.write_manifest = write_manifest
raise SystemExit(main(["build", {str(tiny_checkpoint)!r}, "--precision", "int8", "--out", "b"]))
"""
    with subprocess.Popen(
        [sys.executable, '-c', code],
        env={'PYTHONPATH': str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == 'nearly done\n'
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == exit_codes.INTERRUPTED
        assert 'Traceback' not in process.stderr.read()
    assert {
        path.name: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()
    } == before
    assert [path.name for path in tmp_path.iterdir()] == ([] if is_first else ['b'])
