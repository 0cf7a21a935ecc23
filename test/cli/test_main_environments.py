# SPDX-License-Identifier: Apache-2.0
"""The command in environments that people really have: other encodings, no home, a terminal that
cannot draw, no network. Each is a process of its own.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.slow_parts import sampled

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, '-m', 'penguin_ros.cli.main']
ASCII = {'LC_ALL': 'POSIX', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
STRANGER = 54321
"""A user without an entry in /etc/passwd."""


@pytest.fixture(scope='module')
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A small bundle for ONNX Runtime."""
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from penguin_ros.checkpoint.checkpoint import open_checkpoint
    from penguin_ros.export.build import BuildOrder, build_bundle

    folder = tmp_path_factory.mktemp('bundle') / 'bundle'
    return build_bundle(open_checkpoint(tiny_checkpoint), folder, BuildOrder())


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Two seconds of grey."""
    import cv2
    import numpy as np

    path = tmp_path / 'drive.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 4, (64, 48))
    for _ in range(8):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    return path


def environment(**variables: str) -> dict[str, str]:
    """This environment without what chooses encodings, homes and terminals, and with variables."""
    dropped = ('LC_ALL', 'LANG', 'LC_CTYPE', 'PYTHONIOENCODING', 'TERM', 'CI')
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    path = os.pathsep.join((str(ROOT), os.environ.get('PYTHONPATH', '')))
    return {**kept, 'PYTHONPATH': path, **variables}


def penguin(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the command."""
    return subprocess.run(
        [*COMMAND, *(os.fspath(word) for word in words)],
        env=environment(**variables),
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    'variables',
    [
        pytest.param({'LC_ALL': 'C'}, marks=pytest.mark.slow),
        ASCII,
        pytest.param({'PYTHONIOENCODING': 'ascii'}, marks=pytest.mark.slow),
        {'PYTHONIOENCODING': 'iso-8859-1'},
    ],
    ids=['C', 'POSIX', 'ascii', 'latin'],
)
def test_captions_are_printed_whatever_the_encoding(
    variables: dict[str, str], bundle: Path, video: Path
) -> None:
    words = ('caption', video, '--bundle', bundle, '--max-tokens', '3')
    plain = penguin(*words, **variables)
    assert plain.returncode == 0 and b'Traceback' not in plain.stderr, plain.stderr
    assert plain.stdout.startswith(b'[00:00.0')
    asked = penguin(*words, '--json', **variables)
    expected = penguin(*words, '--json', LC_ALL='C.UTF-8')
    texts = [json.loads(done.stdout)['text'] for done in (asked, expected)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize('verb', ['--help', 'caption', 'build', 'bench', 'doctor'])
def test_help_needs_no_encoding(verb: str) -> None:
    words = [verb] if verb == '--help' else [verb, '--help']
    done = penguin(*words, **ASCII)
    assert done.returncode == 0 and done.stdout.isascii()


def test_the_report_of_the_doctor_needs_no_encoding() -> None:
    report = penguin('doctor', '--seconds', '0', **ASCII)
    assert report.stdout.startswith(b'python') and b'Traceback' not in report.stderr


def test_a_video_whose_name_is_no_text_is_refused_by_name(bundle: Path, video: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(video.parent) + b'/b\xe4r.avi'))
    video.rename(odd)
    done = penguin('caption', odd, '--bundle', bundle, LC_ALL='C.UTF-8')
    assert done.returncode == 2 and b'names in UTF-8' in done.stderr and b'b\\udce4r' in done.stderr


def on_a_terminal(words: list[str], term: str) -> str:
    """Runs the command with stderr on a terminal and returns what that shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *words], env=environment(TERM=term), stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b''
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # nobody writes any more
                break
            if not piece:
                break
            shown += piece
        assert process.wait(timeout=120) == 0, shown
    os.close(ours)
    return shown.decode(errors='replace')


def test_a_terminal_that_cannot_draw_gets_lines_and_no_control_codes(
    bundle: Path, video: Path
) -> None:
    words = ['caption', str(video), '--bundle', str(bundle), '--max-tokens', '3']
    plain = on_a_terminal(words, 'dumb')
    assert '\x1b' not in plain and 'opening and checking bundle' in plain
    assert '\x1b' in on_a_terminal(words, 'xterm')


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter and write."""
    folder = Path(tempfile.mkdtemp(prefix='penguin_stranger_'))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which('setpriv') is None, reason='only root becomes another user'
)
@pytest.mark.parametrize('home', sampled(['', '/nowhere', '/'], ['/nowhere']))
def test_a_user_without_a_home_gets_captions_and_is_told_where_the_cache_lies(
    home: str, tiny_checkpoint: Path, video: Path, open_folder: Path
) -> None:
    pytest.importorskip('onnxruntime')
    # Root's right to read everything stays, since the checkout may lie in root's home.
    rights = '+dac_read_search'
    shutil.copytree(tiny_checkpoint, open_folder / 'tiny')
    shutil.copy(video, open_folder / 'drive.avi')
    words = ['caption', 'drive.avi', '--checkpoint', 'tiny', '--backend', 'onnxruntime']
    variables = environment(TMPDIR=str(open_folder), PYTHONDONTWRITEBYTECODE='1')
    for name in ('HOME', 'XDG_CACHE_HOME', 'HF_HOME'):
        variables.pop(name, None)
    done = subprocess.run(
        ['setpriv', f'--reuid={STRANGER}', f'--regid={STRANGER}', '--clear-groups']
        + [f'--inh-caps={rights}', f'--ambient-caps={rights}', *COMMAND, *words]
        + ['--max-tokens', '3'],
        cwd=open_folder,
        env={**variables, **({'HOME': home} if home else {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f'the cache lies in {open_folder}/penguin_ros-{STRANGER}' in done.stderr
    assert 'XDG_CACHE_HOME' in done.stderr and not (open_folder / '~').exists()


@pytest.mark.parametrize(
    ('variables', 'words'),
    [
        ({'HF_HUB_OFFLINE': '1'}, b'HF_HUB_OFFLINE is set'),
        ({'HF_ENDPOINT': 'http://127.0.0.1:9'}, b'asking http://127.0.0.1:9 failed'),
    ],
    ids=['offline', 'unreachable'],
)
@pytest.mark.parametrize('verb', sampled(['build', 'caption'], ['build']))
def test_without_a_network_a_hub_id_is_refused_with_the_way_round_it(
    verb: str, variables: dict[str, str], words: bytes, video: Path, tmp_path: Path
) -> None:
    pytest.importorskip('huggingface_hub')
    model = (
        ['build', 'owner/name']
        if verb == 'build'
        else ['caption', video, '--checkpoint', 'owner/name']
    )
    done = penguin(*model, HF_HOME=str(tmp_path / 'hub'), **variables)
    assert done.returncode == 2 and b'Traceback' not in done.stderr, done.stderr
    assert words in done.stderr and b'hf download owner/name --local-dir name' in done.stderr
