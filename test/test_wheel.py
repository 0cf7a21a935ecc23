# SPDX-License-Identifier: Apache-2.0
"""`pip install` without ROS gives a working command: everything is done as a user does it, with
a wheel that was built from the source archive, and no checkout on the path.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.bags import write_bag
from support.fresh_checkout import ROOT
from support.user_install import Packages, UserInstall, build_packages, install, user_install

pytestmark = pytest.mark.slow

VERBS = (
    'caption',
    'ask',
    'demo',
    'build',
    'bench',
    'watch',
    'rules',
    'score',
    'parity',
    'doctor',
)
LAYOUTS = ('config/penguin.rviz', 'config/penguin.perspective', 'config/foxglove_layout.json')
ROS_VERBS = (['ask', 'What is here?'], ['watch'], ['rules', 'list'], ['demo'])
DRAW_VIDEO = """
import cv2, numpy as np
writer = cv2.VideoWriter('drive.avi', cv2.VideoWriter_fourcc(*'MJPG'), 4, (168, 112))
for number in range(12):
    writer.write(np.full((112, 168, 3), (20 * number, 90, 200), np.uint8))
writer.release()
"""


@pytest.fixture(scope='module')
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The source archive and the wheel."""
    return build_packages(tmp_path_factory.mktemp('packages'))


@pytest.fixture(scope='module')
def user(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> UserInstall:
    """The extras that captions, bundles and benchmarks need, and a video."""
    made = user_install(packages, tmp_path_factory.mktemp('user'), '[onnxruntime,bag]')
    assert made.run(made.python, '-c', DRAW_VIDEO).returncode == 0
    return made


@pytest.fixture(scope='module')
def bare(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> UserInstall:
    """The package without extras."""
    return user_install(packages, tmp_path_factory.mktemp('bare'), '')


@pytest.fixture(scope='module')
def bundle(user: UserInstall) -> Path:
    """The included model as `penguin build` makes a bundle of it."""
    done = user.penguin('build', 'penguin_sim', '--out', 'bundle')
    assert done.returncode == 0, done.stderr
    assert 'penguin_sim, onnxruntime, float32' in done.stdout
    return user.folder / 'bundle'


def test_archive_and_wheel_hold_the_whole_package_and_nothing_that_only_a_checkout_runs(
    packages: Packages,
) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / 'penguin_ros').rglob('*.py')}
    inside = set(zipfile.ZipFile(packages.wheel).namelist())
    assert {name for name in inside if name.endswith('.py') and '.data/' not in name} == modules
    share = 'penguin_ros-0.1.0.data/data/share/penguin_ros/'
    for path in (
        'engines/penguin_sim/model.safetensors',
        'config/simulation.yaml',
        'LICENSE',
        *LAYOUTS,
    ):
        assert share + path in inside
    with tarfile.open(packages.archive) as archive:
        folders = {name.split('/')[1] for name in archive.getnames() if '/' in name}
    assert 'penguin_ros' in folders and not {'test', 'benchmarks', 'tools'} & folders


def test_programs_lie_where_a_shell_finds_them(user: UserInstall) -> None:
    for name in (
        'penguin',
        'penguin_node',
        'camera_node',
        'memory_node',
        'overlay_node',
        'sim_camera',
    ):
        assert (user.venv / 'bin' / name).is_file()
    assert not (user.venv / 'lib' / 'penguin_ros').exists()
    done = user.penguin('--help')
    assert done.returncode == 0 and all(f'    {verb} ' in done.stdout for verb in VERBS)


@pytest.mark.parametrize('verb', VERBS)
def test_every_verb_explains_itself(verb: str, user: UserInstall) -> None:
    done = user.penguin(verb, '--help')
    assert done.returncode == 0 and f'usage: penguin {verb}' in done.stdout, done.stderr


def test_the_doctor_finds_no_fault_but_at_most_a_ros_that_is_not_sourced(user: UserInstall) -> None:
    done = user.penguin('doctor', '--json', '--checkpoint', 'penguin_sim')
    found = {item['topic']: item for item in json.loads(done.stdout)}
    faults = {topic for topic, item in found.items() if item['state'] == 'fault'}
    is_installed = bool(list(Path('/opt/ros').glob('*/setup.bash')))
    assert faults == ({'rclpy'} if is_installed else set())
    assert done.returncode == int(is_installed)
    assert found['onnxruntime']['state'] == found['checkpoint']['state'] == 'ok'
    assert str(user.venv) in found['penguin_ros']['text']


def test_a_video_is_captioned_from_a_checkpoint_and_from_a_bundle(
    user: UserInstall, bundle: Path
) -> None:
    texts = []
    for model in (['--checkpoint', 'penguin_sim'], ['--bundle', bundle]):
        done = user.penguin('caption', 'drive.avi', *model, '--json', '--srt', 'drive.srt')
        assert done.returncode == 0, done.stderr
        captions = [json.loads(line) for line in done.stdout.splitlines()]
        assert captions and all(caption['error'] is None for caption in captions)
        assert captions[0]['model'] == 'penguin_sim' and captions[0]['backend'] == 'onnxruntime'
        texts.append([caption['text'] for caption in captions])
    assert texts[0] == texts[1]
    assert (user.folder / 'drive.srt').read_text().startswith('1\n00:00:00,000 --> ')
    assert (user.folder / 'home' / '.cache' / 'penguin_ros' / 'bundles').is_dir()


def test_a_bag_is_captioned(user: UserInstall, bundle: Path) -> None:
    pytest.importorskip('rosbags')
    write_bag(user.folder / 'bag', ('/front/image_raw',))
    done = user.penguin('caption', 'bag', '--bundle', bundle)
    assert done.returncode == 0 and done.stdout.startswith('[00:00.0'), done.stderr


def test_an_engine_is_measured(user: UserInstall, bundle: Path) -> None:
    words = ('--rounds', '1', '--steps', '2', '--max-tokens', '2', '--json', 'bench.json')
    done = user.penguin('bench', 'engine', bundle, *words)
    assert done.returncode == 0, done.stderr
    assert json.loads((user.folder / 'bench.json').read_text())
    assert user.penguin('bench', 'engine', 'penguin_sim', *words).returncode == 0


@pytest.mark.parametrize('words', ROS_VERBS, ids=lambda words: words[0])
def test_what_needs_ros_says_so(words: list[str], user: UserInstall) -> None:
    done = user.penguin(*words)
    assert done.returncode == 2 and 'ROS 2 is not found' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('words', 'library', 'package'),
    [
        (['caption', 'drive.avi', '--bundle', 'bundle'], 'cv2', 'opencv-python-headless'),
        (['build', 'penguin_sim'], 'onnx', 'onnx'),
        (['bench', 'engine', 'bundle'], 'cv2', 'opencv-python-headless'),
        (['score', '--checkpoint', 'penguin_sim'], 'cv2', 'opencv-python-headless'),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else '',
)
def test_without_extras_a_missing_library_is_told_with_one_line_that_works(
    words: list[str], library: str, package: str, bare: UserInstall
) -> None:
    done = bare.penguin(*words)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert library in done.stderr and f'{bare.python} -m pip install "{package}>=' in done.stderr


def test_without_extras_the_doctor_names_what_is_missing(bare: UserInstall) -> None:
    done = bare.penguin('doctor', '--json')
    faults = {item['topic']: item for item in json.loads(done.stdout) if item['state'] == 'fault'}
    assert done.returncode == 1 and {'opencv-python-headless', 'backend'} <= set(faults)
    assert f'{bare.python} -m pip install "onnxruntime>=' in faults['backend']['fix']


def test_scenes_are_scored_with_one_extra_more(user: UserInstall, packages: Packages) -> None:
    install(packages, user.python, f'{packages.wheel}[simulation]')
    words = ('--scenes', '1', '--questions', '2', '--no-blind', '--json')
    done = user.penguin('score', '--checkpoint', 'penguin_sim', *words)
    if 'libegl1' in done.stderr:
        pytest.skip('nothing here draws without a screen')
    assert done.returncode == 0 and json.loads(done.stdout)['errors'] == 0, done.stderr
