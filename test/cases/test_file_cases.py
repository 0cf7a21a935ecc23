# SPDX-License-Identifier: Apache-2.0
"""The scripts of `shared/cases/files`, run as their heads say and judged as their README does.

They lie beside this repository; where they are absent the tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT.parent / 'shared' / 'cases' / 'files'
PENGUIN = '#!/bin/sh\nexec {python} -m penguin_ros.cli.entry "$@"\n'
UNWANTED = ('Traceback', 'core dumped', 'Segmentation')

OLD_NAMES = """
import runpy, sys, types
from penguin_ros.media import source
module = types.ModuleType('penguin_ros.ros.camera_source')
module.open_source = source.open_source
source.VideoFile.picture = source.VideoFile.image
sys.modules[module.__name__] = module
script, sys.argv = sys.argv[1], sys.argv[1:]
runpy.run_path(script, run_name='__main__')
"""
"""Runs a script that knows the camera node's source by the names that it had before."""


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str
    captions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return self.out + self.err

    @property
    def span(self) -> tuple[float, float]:
        """When the captions begin and end, in seconds."""
        return self.captions[0]['start'], self.captions[-1]['end']

    @property
    def frames(self) -> int:
        """How many frames the captions are about."""
        return sum(len(caption['stamps_ns']) for caption in self.captions)


class Workplace:
    """What the heads of the scripts ask for: a checkpoint, a bundle, a video, a folder, and
    `penguin` on the path.
    """

    def __init__(self, folder: Path, checkpoint: Path, video: Path) -> None:
        self.folder = folder
        self.checkpoint = folder / 'checkpoint'
        shutil.copytree(checkpoint, self.checkpoint)
        self.video = video
        commands = folder / 'bin'
        commands.mkdir()
        (commands / 'penguin').write_text(PENGUIN.format(python=sys.executable))
        (commands / 'penguin').chmod(0o755)
        path = os.pathsep.join((str(ROOT), os.environ.get('PYTHONPATH', '')))
        self.environment = {
            **os.environ,
            'PATH': f'{commands}{os.pathsep}{os.environ["PATH"]}',
            'PYTHONPATH': path,
            'XDG_CACHE_HOME': str(folder / 'cache'),
        }
        self.bundle = folder / 'bundle'
        assert self.run('penguin', 'build', self.checkpoint, '--out', self.bundle).code == 0

    def run(self, *words: object) -> Done:
        """Runs a command."""
        done = subprocess.run(
            [str(word) for word in words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        result = Done(done.returncode, done.stdout, done.stderr)
        assert not any(word in result.text for word in UNWANTED), result.text
        return result

    def script(self, name: str, *words: object) -> Done:
        """Runs a Python script, which makes the inputs of a case."""
        done = self.run(sys.executable, '-c', OLD_NAMES, CASES / name, *words)
        assert done.code == 0, done.err
        return done

    def shell(self, name: str, *words: object) -> Done:
        """Runs a shell script, which plays a case through."""
        return self.run('bash', CASES / name, *words)

    def caption(self, source: Path, *words: object, seconds: float = 4.0) -> Done:
        """Captions a recording and reads the lines of JSON."""
        options = ('--bundle', self.bundle, '--json', '--max-tokens', 4, '--clip-seconds', seconds)
        done = self.run('penguin', 'caption', source, *options, *words)
        done.captions = [json.loads(line) for line in done.out.splitlines()]
        return done


@pytest.fixture(scope='module')
def place(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, video_path: Path
) -> Workplace:
    """The inputs that all cases share."""
    if not CASES.is_dir():
        pytest.skip(f'{CASES} is absent')
    for module in ('onnx', 'onnxruntime', 'rosbags'):
        pytest.importorskip(module)
    return Workplace(tmp_path_factory.mktemp('cases'), tiny_checkpoint, video_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder OUT of a case."""
    return tmp_path / 'out'


needs_root = pytest.mark.skipif(os.getuid() != 0, reason='root only')


def codes(done: Done) -> list[int]:
    """The exit codes that a shell script prints."""
    return [int(code) for code in re.findall(r'exit code(?: of[\w ]*)? (\d+)', done.out)]


def test_no_picture_av1(place: Workplace, out: Path) -> None:
    place.script('no_picture_av1.py', out)
    done = place.caption(out / 'av1.mp4')
    if done.code == 0:
        assert done.frames == 5 and done.span == (0.0, 0.8)
    else:
        assert all(word in done.err for word in ('av1', 'decodes none', 'ffmpeg -i'))


def test_dropped_pictures(place: Workplace, out: Path) -> None:
    place.script('dropped_pictures.py', out)
    for name, encoding in (('uc3', '8UC3'), ('h264', 'h264')):
        done = place.caption(out / name)
        assert done.code in (1, 2) and encoding in done.err and '40' in done.err
        assert 'next:' in done.err


def test_stamps(place: Workplace, out: Path) -> None:
    place.script('stamps.py', out)
    zero = place.caption(out / 'zero_first', '--fps', 10, '--max-frames', 180)
    assert zero.code == 0 and zero.frames == 40 and zero.span == (0.0, 3.9)
    back = place.caption(out / 'stepped_back', '--fps', 10, '--max-frames', 180)
    assert back.code == 0 and back.frames == 80 and back.span == (0.0, 7.9)
    assert 'set back by 10.000 s at 2.0 s' in back.err


def test_damaged_message(place: Workplace, out: Path) -> None:
    place.script('damaged_message.py', out)
    done = place.caption(out / 'damaged', '--fps', 10, seconds=0.5)
    assert done.code in (0, 1) and done.frames == 39 and done.span[1] == 3.9
    assert '1 image was left out' in done.err


def test_power_cut(place: Workplace, out: Path) -> None:
    place.script('power_cut.py', out)
    cut = place.caption(out / 'cut.mcap', '--fps', 10, '--max-frames', 180)
    assert 230 <= cut.frames <= 245 and 'cut off' in cut.err and 'mcap recover' in cut.err
    for name in ('no_metadata_mcap', 'no_metadata_db3', 'no_metadata_db3/bag.db3'):
        done = place.caption(out / name, '--fps', 10, '--max-frames', 180)
        assert done.code == 0 and done.frames == 40


def test_damaged_video(place: Workplace, out: Path) -> None:
    place.script('damaged_video.py', out)
    done = place.caption(out / 'damaged.mp4', '--fps', 10, seconds=1.0)
    assert done.span == (0.0, 5.9) and done.frames == 48
    assert '12 images were left out' in done.err and 'from 2.4 ' in done.err


def test_interlaced_video(place: Workplace, out: Path) -> None:
    place.script('interlaced_video.py', out)
    done = place.caption(out / 'interlaced.mp4')
    # An older OpenCV converts it; test_video_damaged looks at what is then done.
    assert done.frames == 4 if done.code == 0 else 'interlaced' in done.err and 'yadif' in done.err


def test_late_picture(place: Workplace, out: Path) -> None:
    place.script('late_picture.py', out)
    done = place.caption(out / 'late.mkv', '--srt', out / 'late.srt')
    assert done.code == 0 and done.span[0] == 3.0
    assert (out / 'late.srt').read_text().splitlines()[1].startswith('00:00:03,000')
    later = place.caption(out / 'late.mkv', '--start', 4, '--end', 4.5, '--fps', 10)
    assert later.span == (4.0, 4.4)
    early = place.caption(out / 'late.mkv', '--end', 2)
    assert early.code == 2 and 'no image from 0 to 2 s' in early.err


def test_variable_rate_camera(place: Workplace, out: Path) -> None:
    shown = place.script('variable_rate_camera.py', out).out
    pictures = {float(at): int(n) for at, n in re.findall(r'([\d.]+) s: picture (\d+)', shown)}
    expected = {at / 2: 9 for at in range(2, 20)}
    assert pictures == {0.0: 0, 0.5: 5, **expected, 10.0: 10, 10.5: 15}


def test_unrelated_message_type(place: Workplace, out: Path) -> None:
    place.script('unrelated_message_type.py', out)
    for name in ('hash', 'definition'):
        done = place.caption(out / name, '--fps', 10, '--max-frames', 180)
        assert done.code == 0 and done.frames == 40 and done.span == (0.0, 3.9)


def test_other_recordings(place: Workplace, out: Path) -> None:
    place.script('other_recordings.py', out)
    for name in ('UPPER.MCAP', 'one.mcap.zstd', 'bag/metadata.yaml'):
        done = place.caption(out / name, '--fps', 10, '--max-frames', 180)
        assert done.code == 0 and done.frames == 40
    for name, words in (('old.bag', 'ROS 1.*rosbags-convert'), ('empty.mp4', 'is empty')):
        done = place.caption(out / name)
        assert done.code == 2 and re.search(words, done.err, re.DOTALL)
        assert 'ffmpeg' not in done.err


def test_long_clip(place: Workplace, out: Path) -> None:
    place.script('long_clip.py', out)
    words = ('penguin', 'caption', out / 'minute.mp4', '--bundle', place.bundle, '--json')
    program = (
        'import resource, subprocess, sys\n'
        'code = subprocess.run(sys.argv[1:]).returncode\n'
        'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n'
        'sys.exit(code)\n'
    )
    options = ('--clip-seconds', 60, '--fps', 5, '--max-tokens', 4)
    done = place.run(sys.executable, '-c', program, *words, *options)
    (caption,) = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0 and (caption['start'], caption['end']) == (0.0, 59.8)
    assert len(caption['stamps_ns']) == 16
    assert int(done.err.split()[-1]) < 900_000  # KB; all 300 images have 1,900,000


def test_not_weights(place: Workplace, out: Path) -> None:
    place.script('not_weights.py', place.checkpoint, out)
    for name, words in (
        ('pointers', 'Git LFS.*(git .*lfs pull|hf download)'),
        ('adapter', 'LoRA adapter of tencent/Penguin-VL-2B.*[Mm]erge'),
    ):
        done = place.run('penguin', 'build', out / name, '--out', out / 'b')
        assert done.code == 2 and re.search(words, done.err, re.DOTALL)
        assert not any(word in done.err for word in ('damaged', 'elete', 'again'))


def test_legacy_rope_scaling(place: Workplace, out: Path) -> None:
    place.script('legacy_rope_scaling.py', place.checkpoint, out)
    done = place.run('penguin', 'build', out / 'yarn', '--out', out / 'b')
    assert done.code == 2 and 'rope_scaling' in done.err and not (out / 'b').exists()


@needs_root
def test_target_is_mount_point(place: Workplace, out: Path) -> None:
    done = place.shell('target_is_mount_point.sh', place.checkpoint, out)
    if 'permission denied' in done.err or 'unshare failed' in done.err:
        pytest.skip('nothing may be mounted here')
    assert codes(done) == [0, 0] and 'bundle.yaml' in done.out and '.volume' not in done.out


@needs_root
def test_killed_in_container(place: Workplace, out: Path) -> None:
    done = place.shell('killed_in_container.sh', place.checkpoint, out)
    if 'unshare failed' in done.err:
        pytest.skip('no container may be made here')
    assert 'exit code of the next build 0, there is now: bundle\n' in done.out


@needs_root
def test_no_permission(place: Workplace, out: Path) -> None:
    done = place.shell('no_permission.sh', place.checkpoint, place.bundle, place.video, out)
    assert codes(done) == [2] * 6
    assert done.err.count('error:') == done.err.count('lacks the permission') == 6
    for word in ('damaged', 'elete', 'onvert', 'ownload', 'ree disk'):
        assert word not in done.err


def test_subtitle_target(place: Workplace, out: Path) -> None:
    done = place.shell('subtitle_target.sh', place.bundle, place.video, out)
    assert codes(done) == [2] * 5
    assert 'old.srt has 28 bytes' in done.out
    size = place.video.stat().st_size
    assert f'copy.mp4 has {size} bytes, the original {size}' in done.out
    assert done.err.count('error:') == 5 and 'No space left on device' in done.err


def test_broken_library(place: Workplace, out: Path) -> None:
    done = place.shell('broken_library.sh', place.bundle, place.video, out)
    assert 'opencv: exit code 1' in done.out and 'numpy: exit code 1' in done.out
    assert re.search(r'opencv-python-headless +fault +.*libGL\.so\.1', done.out)
    assert 'libgl1' in done.out
    assert re.search(rf'numpy +fault +.*{out}/numpy.*PYTHONPATH', done.out)
    for name in ('opencv', 'numpy'):
        assert f'{name}: exit code of penguin caption 2' in done.out
        assert f'Take {out}/{name} out of PYTHONPATH' in done.err
    assert done.err.count('error:') == done.err.count(' next:') == 2


@needs_root
@pytest.mark.skipif(shutil.which('setpriv') is None, reason='no setpriv here')
def test_no_home(place: Workplace, out: Path) -> None:
    done = place.shell('no_home.sh', place.checkpoint, place.video, out)
    assert codes(done) == [0, 2]
    assert 'the cache lies in' in done.err and 'XDG_CACHE_HOME' in done.err
    assert 'HF_HUB_OFFLINE' in done.err and 'hf download owner/name' in done.err
