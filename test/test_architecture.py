# SPDX-License-Identifier: Apache-2.0
"""The rooms of the package, which room may import which, and the rules for files, as data.

A room is a folder or a file directly below `penguin_ros/`; `docs/architecture.md` shows the same
table in words.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'penguin_ros'
MAX_FILE_LINES, MAX_FUNCTION_LINES, SMALL_FILE_LINES = 400, 40, 60
FORBIDDEN_NAMES = {'util', 'helper', 'common', 'misc', 'manager', 'handler', 'data', 'info'}
INFERENCE_LIBRARIES = ('torch', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'cuda')
IMPORTS_A_CHOSEN_LIBRARY = 'penguin_ros.backends.tensorrt.bindings'
"""It imports one of two by a name that is only known when it runs."""

BLOCKED = ('rclpy', 'penguin_msgs', 'mujoco', *INFERENCE_LIBRARIES)

VALUES = (
    'board_facts',
    'config',
    'question_config',
    'rule_config',
    'remote_config',
    'settings',
    'system_reasons',
    'errors',
    'frame',
    'dialogue',
    'request',
    'model_inputs',
    'plain_values',
    'steps',
    'text',
    'installation',
    'jetson',
    'nvidia_card',
    'libraries',
    'shipped',
    'user_cache',
)
CORE = (
    *VALUES,
    'clip_buffer',
    'frame_sampling',
    'checkpoint',
    'board_memory',
    'preprocessing',
    'backends',
    'generation',
    'scoring',
    'remote',
    'window',
    'scheduler',
    'requests',
    'pipeline',
    'pipeline_status',
    'media',
    'memory',
)
MESSAGES = (
    'builtin_interfaces',
    'diagnostic_msgs',
    'geometry_msgs',
    'lifecycle_msgs',
    'penguin_msgs',
    'rcl_interfaces',
    'rosgraph_msgs',
    'sensor_msgs',
    'std_msgs',
    'std_srvs',
)


@dataclass(frozen=True)
class Room:
    """What the files of a room may import besides their own room; None: everything.

    `modules` are names below penguin_ros, each with all that lies below it; `libraries` are
    third-party packages.
    """

    modules: tuple[str, ...] | None
    libraries: tuple[str, ...] | None = ()


BACKEND = (*VALUES, 'checkpoint', 'board_memory', 'backends.base')
ROS_LIBRARIES = ('rclpy', 'numpy', 'cv2', 'PIL', *MESSAGES)
NODE = (
    *VALUES,
    'clip_buffer',
    'frame_sampling',
    'media',
    'pipeline',
    'pipeline_status',
    'scheduler.job',
    'rules',
    'remote.breaker',
    'remote.line',
    'requests.rule_job',
    'requests.rule_evaluations',
    'requests.rule_runner',
    'ros.process',
    'ros.conversions',
)

ROOMS = {
    'system_reasons': Room(()),
    'errors': Room(('system_reasons',)),
    'settings': Room(('errors',)),
    'config': Room(('errors', 'settings', 'question_config', 'rule_config', 'remote_config')),
    'question_config': Room(('settings', 'remote_config')),
    'remote_config': Room(('settings',)),
    'rule_config': Room(('errors', 'settings')),
    'frame': Room(('errors',), ('numpy',)),
    'dialogue': Room(('frame',)),
    'request': Room(('errors', 'frame', 'dialogue')),
    'model_inputs': Room(('errors', 'frame'), ('numpy',)),
    'plain_values': Room(()),
    'steps': Room(()),
    'text': Room(()),
    'installation': Room(()),
    'jetson': Room(()),
    'nvidia_card': Room(()),
    'libraries': Room(('errors', 'installation')),
    'shipped': Room(('errors',)),
    'user_cache': Room(('errors',)),
    'board_facts': Room(('jetson',)),
    'board_memory': Room((*VALUES, 'checkpoint.shapes')),
    'atomic_folder': Room(('errors', 'atomic_file')),
    'atomic_file': Room(('errors',)),
    'console': Room(('errors', 'atomic_file'), ('rich',)),
    'frame_sampling': Room(VALUES, ('numpy',)),
    'clip_buffer': Room((*VALUES, 'frame_sampling'), ('numpy',)),
    'media': Room(
        (*VALUES, 'frame_sampling'),
        ('numpy', 'PIL', 'cv2', 'rosbags', 'yaml', 'cv_bridge', 'sensor_msgs'),
    ),
    'checkpoint': Room(
        ('config', 'errors', 'installation', 'libraries', 'shipped', 'user_cache'),
        ('numpy', 'safetensors', 'tokenizers', 'transformers', 'huggingface_hub'),
    ),
    'preprocessing': Room((*VALUES, 'frame_sampling', 'checkpoint'), ('numpy', 'PIL', 'cv2')),
    # Its sources are read by processes that have Triton, and by no other.
    'kernels': Room((*VALUES, 'checkpoint.shapes'), ('numpy', 'triton')),
    'backends.base': Room((*VALUES, 'checkpoint', 'board_memory'), ('numpy', 'yaml')),
    'backends.onnxruntime': Room(BACKEND, ('numpy', 'onnxruntime')),
    'backends.cuda': Room((*BACKEND, 'kernels', 'atomic_file'), ('numpy', 'cuda')),
    'backends.tensorrt': Room(
        (*BACKEND, 'backends.cuda', 'kernels'), ('numpy', 'tensorrt', 'cuda')
    ),
    'backends.torch': Room(BACKEND, ('numpy', 'torch')),
    'backends.ways': Room(VALUES),
    'backends.open_backend': Room((*VALUES, 'checkpoint', 'backends')),
    'generation': Room((*VALUES, 'backends.base'), ('numpy', 'llguidance')),
    'scoring': Room((*VALUES, 'checkpoint.calibration', 'generation'), ('numpy',)),
    'window': Room((*VALUES, 'clip_buffer', 'frame_sampling', 'preprocessing'), ('numpy',)),
    # Its client asks in the words of a protocol; what a frame is comes from below.
    'remote': Room((*VALUES, 'preprocessing.patches'), ('numpy', 'PIL', 'aiohttp')),
    # A job is a generator that somebody else made: the scheduler needs no room of those that make
    # one.
    'scheduler': Room(VALUES),
    'pipeline_status': Room(
        (*VALUES, 'clip_buffer', 'backends.base', 'generation', 'remote', 'window', 'scheduler')
    ),
    'requests': Room(
        (
            *VALUES,
            'clip_buffer',
            'frame_sampling',
            'checkpoint',
            'preprocessing',
            'backends.base',
            'generation',
            'scoring',
            'remote',
            'window',
            'media',
            'pipeline_status',
            'rules',
        )
    ),
    'pipeline': Room((*CORE, 'requests')),
    # A new engine is loaded before it replaces an old one, so its builder needs what loads engines.
    'export': Room(
        (
            *VALUES,
            'console',
            'atomic_folder',
            'checkpoint',
            'board_memory',
            'backends.base',
            'backends.cuda',
            'backends.tensorrt',
            'backends.ways',
            'kernels',
        ),
        ('numpy', 'onnx', 'tensorrt'),
    ),
    # Rules count probabilities that somebody else computes.
    'rules': Room((*VALUES, 'atomic_file'), ('numpy', 'yaml')),
    'memory': Room(VALUES, ('numpy', 'tokenizers')),
    'simulation': Room(VALUES, ('numpy', 'mujoco')),
    # What servers share, without a library for HTTP.
    'http_site': Room(VALUES),
    'serving': Room((*VALUES, 'http_site', 'media', 'pipeline', 'pipeline_status'), ('aiohttp',)),
    'web_console': Room((*VALUES, 'http_site'), ('aiohttp',)),
    'testing': Room(
        (*VALUES, 'atomic_folder', 'checkpoint', 'backends.base'), ('numpy', 'tokenizers')
    ),
    'transform_tree': Room(('errors', 'frame')),
    'picture_buffer': Room(('errors', 'frame'), ('numpy', 'cv2')),
    'recording': Room((*VALUES, 'media', 'overlay'), ('rosbags',)),
    'overlay': Room((*VALUES, 'rules.event'), ('numpy', 'PIL')),
    'recollection': Room((*VALUES, 'memory')),
    'ros.conversions': Room(
        (*VALUES, 'media', 'memory', 'overlay', 'pipeline', 'pipeline_status', 'rules'),
        ROS_LIBRARIES,
    ),
    'ros.process': Room(VALUES, (*ROS_LIBRARIES, 'launch', 'launch_ros')),
    'ros.camera_input': Room(NODE, ROS_LIBRARIES),
    'ros.camera_node': Room(NODE, ROS_LIBRARIES),
    'ros.sim_camera': Room((*NODE, 'ros.camera_node', 'simulation'), ROS_LIBRARIES),
    'ros.node': Room((*NODE, 'ros.camera_input'), ROS_LIBRARIES),
    'ros.memory_node': Room(
        (
            *NODE,
            'memory',
            'recollection',
            'transform_tree',
            'picture_buffer',
            'ros.camera_input',
            'ros.node.surroundings',
        ),
        (*ROS_LIBRARIES, 'tf2_msgs', 'tf2_ros'),
    ),
    'ros.record_node': Room(
        (*VALUES, 'overlay', 'recording', 'ros.conversions', 'ros.process'),
        (*ROS_LIBRARIES, 'ament_index_python'),
    ),
    'ros.overlay_node': Room(
        (*NODE, 'overlay', 'ros.camera_node.image_publisher', 'ros.node.surroundings'),
        (*ROS_LIBRARIES, 'foxglove_msgs', 'rviz_2d_overlay_msgs'),
    ),
    'ros.console_node': Room(
        (
            *VALUES,
            'media',
            'http_site',
            'web_console',
            'ros.client',
            'ros.conversions',
            'ros.process',
        ),
        (*ROS_LIBRARIES, 'aiohttp'),
    ),
    'ros.client': Room(
        (*VALUES, 'media', 'picture_buffer', 'ros.conversions', 'ros.process'),
        (*ROS_LIBRARIES, 'typing_extensions'),
    ),
    'ros.behaviours': Room(
        (*VALUES, 'ros.client'), (*ROS_LIBRARIES, 'py_trees', 'typing_extensions')
    ),
    'client': Room(('ros.client',)),
    'behaviours': Room(('ros.behaviours',)),
    'mcp_server': Room((*VALUES, 'client'), ('mcp', 'mcp_types', 'pydantic', 'uvicorn')),
    # Libraries of measurement and the command over them: nothing below knows of them.
    'evaluation': Room(None, None),
    'benchmark': Room(None, None),
    # It measures what backends and engines are made of; no ROS, no torch.
    'board': Room(
        (
            *VALUES,
            'console',
            'checkpoint',
            'preprocessing',
            'backends.base',
            'backends.cuda',
            'backends.tensorrt',
            'backends.onnxruntime',
            'generation',
            'export',
            'board_memory',
            'testing.random_weights',
            'benchmark.stored_clip',
        ),
        ('numpy', 'onnx'),
    ),
    'cluster': Room(None, None),
    'demo': Room(None, None),
    'doctor': Room(None, None),
    'cli': Room(None, None),
}
ABOVE = ('evaluation', 'benchmark', 'board', 'cluster', 'demo', 'doctor', 'cli')
MAY_IMPORT_ROS = ('ros', 'client', 'behaviours', 'benchmark.live.node', 'demo', 'doctor', 'cli')

FEW_LINES = {
    'cli.entry': 'entry',
    'client': 'entry: what Python programs import',
    'behaviours': 'entry: what behaviour trees import',
    'ros.client.ask_options': 'values',
    'ros.client.pictures': 'one idea: a picture of a camera, once',
    'rules.darkness': 'one idea: whether an image shows anything',
    'doctor.apart': 'one idea: a process whose end is told',
    'media.interlaced': 'one idea: a process that tells what OpenCV does not',
    'evaluation.simulation_model': 'values',
    'cli.exit_codes': 'values',
    'kernels.kernel_list': 'entry: prints the table of docs/kernels.md',
    'kernels.sources.frames': 'kernels in Triton, which only the compiler imports',
    'kernels.sources.unpacking': 'kernels in Triton, which only the compiler imports',
    'remote.event_stream': 'one idea: events out of bytes, cut anywhere',
    'remote.probe': 'values: a question that costs a server next to nothing',
    'simulation.random_captions': 'one idea: captions in numbers, for what measures',
    'cluster.session_router': 'entry: Ray imports it by name',
    'web_console.send_queue': 'one idea: what waits for one browser',
    'memory.words': 'one idea: what people type, without any syntax of a database',
}
"""Files under 60 lines with fewer than two importers, and why they stand alone."""


@dataclass(frozen=True)
class Import:
    """`module` as written; `is_late`: inside a function or for type checking only."""

    module: str
    is_late: bool


@cache
def sources() -> tuple[Path, ...]:
    return tuple(sorted(path for path in PACKAGE.rglob('*.py') if path.name != '__init__.py'))


def name_of(path: Path) -> str:
    return '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)


def room_of(module: str) -> str:
    """The innermost room that holds the module, '' when there is none."""
    rooms = [room for room in ROOMS if module == room or module.startswith(room + '.')]
    return max(rooms, key=len, default='')


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding='utf-8'), str(path))


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    return tuple(_imports(tree_of(path), False))


def _imports(node: ast.AST, is_late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, is_late) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, 'imports are absolute'
            yield from _imported_from(child, is_late)
        else:
            is_for_types = isinstance(child, ast.If) and 'TYPE_CHECKING' in ast.unparse(child.test)
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from _imports(child, is_late or is_for_types or is_function)


def _imported_from(node: ast.ImportFrom, is_late: bool) -> Iterator[Import]:
    module = node.module or ''
    if module == 'penguin_ros' or (PACKAGE / module.partition('.')[2].replace('.', '/')).is_dir():
        yield from (Import(f'{module}.{alias.name}', is_late) for alias in node.names)
    else:
        yield Import(module, is_late)


def is_covered(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(name + '.') for name in allowed)


def violation(path: Path, module: str) -> str:
    """Why the file must not import the module; '' when it may."""
    name, top = name_of(path), module.split('.')[0]
    room = ROOMS[room_of(name)]
    if top == 'penguin_ros':
        inside = module.partition('.')[2]
        if room_of(inside) == room_of(name):
            return ''
        if inside.startswith('ros.') and not is_covered(name, MAY_IMPORT_ROS):
            return f'{name} must not import ROS'
        if room_of(inside) in ABOVE and ABOVE.index(room_of(inside)) > _floor(name):
            return f'{name} must not import {inside}, which lies above it'
        if room.modules is not None and not is_covered(inside, room.modules):
            return f'{room_of(name)} must not import {inside}'
    elif (
        top not in sys.stdlib_module_names
        and room.libraries is not None
        and top not in room.libraries
    ):
        return f'{room_of(name)} must not import {top}'
    return ''


def _floor(name: str) -> int:
    room = room_of(name)
    return ABOVE.index(room) if room in ABOVE else -1


@pytest.mark.parametrize('room', sorted(ROOMS))
def test_imports_of_a_room_point_down_only(room: str) -> None:
    files = [path for path in sources() if room_of(name_of(path)) == room]
    assert files, f'{room} is in the table and holds nothing'
    assert not [
        f'{name_of(path)}: {why}'
        for path in files
        for item in imports_of(path)
        if (why := violation(path, item.module))
    ]


def test_every_file_belongs_to_a_room() -> None:
    assert [name_of(path) for path in sources() if not room_of(name_of(path))] == []


@pytest.mark.parametrize(
    ('file', 'module'),
    [
        ('clip_buffer.py', 'cv2'),
        ('scheduler/scheduler.py', 'numpy'),
        ('preprocessing/patches.py', 'torch'),
        ('generation/generate.py', 'penguin_ros.backends.torch.backend'),
        ('backends/open_backend.py', 'torch'),
        ('backends/base/backend.py', 'penguin_ros.generation'),
        ('errors.py', 'numpy'),
        ('media/video.py', 'rclpy'),
        ('backends/tensorrt/backend.py', 'onnxruntime'),
        ('backends/torch/backend.py', 'penguin_ros.backends.tensorrt.backend'),
        ('pipeline.py', 'penguin_ros.ros.node.penguin_node'),
        ('frame.py', 'penguin_ros.request'),
        ('requests/answer_job.py', 'penguin_ros.pipeline'),
        ('media/video.py', 'penguin_ros.pipeline'),
        ('ros/node/penguin_node.py', 'penguin_ros.generation.generate'),
        ('ros/node/penguin_node.py', 'torch'),
        ('ros/node/penguin_node.py', 'penguin_ros.simulation.world'),
        ('window/camera_window.py', 'penguin_ros.requests.validation'),
        ('evaluation/score.py', 'penguin_ros.ros.client.session'),
        ('benchmark/tasks.py', 'penguin_ros.cli.build'),
    ],
)
def test_an_import_that_points_up_would_be_seen(file: str, module: str) -> None:
    assert violation(PACKAGE / file, module)


def test_late_imports_are_seen_too() -> None:
    late = [
        item.module
        for item in imports_of(PACKAGE / 'backends' / 'torch' / 'backend.py')
        if item.is_late
    ]
    assert 'torch' in late and any(
        module.startswith('penguin_ros.backends.torch.session') for module in late
    )


def test_no_file_imports_itself_over_others_even_when_it_imports_late() -> None:
    graph = {
        name_of(path): {
            item.module.partition('.')[2]
            for item in imports_of(path)
            if item.module.startswith('penguin_ros.')
        }
        for path in sources()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which shows the ring


def bound_to_inference_libraries() -> set[str]:
    """Modules that import an inference library when they are imported, or another such module."""
    early = {
        f'penguin_ros.{name_of(path)}': {
            item.module for item in imports_of(path) if not item.is_late
        }
        for path in sources()
    }
    bound = {IMPORTS_A_CHOSEN_LIBRARY}
    while True:
        more = {
            name
            for name, modules in early.items()
            if name not in bound
            and (
                modules & bound
                or any(module.split('.')[0] in INFERENCE_LIBRARIES for module in modules)
            )
        }
        if not more:
            return bound
        bound |= more


def test_the_core_imports_with_ros_and_every_inference_library_blocked() -> None:
    bound = bound_to_inference_libraries()
    modules = [
        name
        for path in sources()
        if (name := f'penguin_ros.{name_of(path)}') not in bound and is_covered(name_of(path), CORE)
    ]
    assert {
        'penguin_ros.pipeline',
        'penguin_ros.backends.torch.backend',
        'penguin_ros.backends.tensorrt.backend',
    } <= set(modules)
    script = f"""
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
for name in {modules!r}:
    importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, '-c', script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_file_says_what_it_is_and_is_one_idea_long() -> None:
    wrong = []
    for path in sources():
        lines = path.read_text(encoding='utf-8').splitlines()
        if lines[0] != '# SPDX-License-Identifier: Apache-2.0' or not ast.get_docstring(
            tree_of(path)
        ):
            wrong.append(f'{name_of(path)} lacks the licence line or a docstring')
        if len(lines) > MAX_FILE_LINES:
            wrong.append(f'{name_of(path)} has {len(lines)} lines')
    assert wrong == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f'{name_of(path)}.{node.name}: {node.end_lineno - node.lineno + 1}'
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if node.end_lineno and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
        # What a kernel holds in registers cannot be handed from one to the next.
        if not is_covered(name_of(path), ('kernels.sources',))
    ]
    assert long == []


def importers() -> dict[str, set[str]]:
    """The files that import a file, by its name."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sources():
        for item in imports_of(path):
            found[item.module.partition('.')[2]].add(name_of(path))
    return found


def is_entry(path: Path) -> bool:
    """A verb of the command `penguin` is an entry: `main` or `bench` finds it by its name; so is a
    step of `penguin bench board`, and a source of kernels, which what compiles them imports.
    """
    functions = {node.name for node in tree_of(path).body if isinstance(node, ast.FunctionDef)}
    if path.parent == PACKAGE / 'kernels' / 'sources':
        return True
    if path.parent == PACKAGE / 'board':
        return path.stem.endswith('_step') and 'run' in functions
    return path.parent == PACKAGE / 'cli' and {'add_arguments', 'run'} <= functions


def test_a_small_file_has_two_importers_or_a_reason() -> None:
    who = importers()
    slivers = {
        name
        for path in sources()
        if (name := name_of(path)).rpartition('.')[2] != 'main'
        and not is_entry(path)
        and len(path.read_text(encoding='utf-8').splitlines()) < SMALL_FILE_LINES
        and len(who[name]) < 2
    }
    assert slivers == {name for name in FEW_LINES if name in slivers}


def test_names_say_more_than_that_something_is_kept_there() -> None:
    wrong = []
    for path in sources():
        classes = [node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
        words = [
            word.lower()
            for name in (path.stem, path.parent.name, *classes)
            for word in re.findall('[A-Z]?[a-z]+', name)
        ]
        wrong += [
            f'{name_of(path)}: {word}'
            for word in words
            if word in FORBIDDEN_NAMES or word.removesuffix('s') in FORBIDDEN_NAMES
        ]
    assert wrong == []


def test_every_python_file_of_the_repository_has_the_licence_line() -> None:
    files = [
        path
        for folder in ('test', 'tools', 'benchmarks', 'launch', 'examples')
        for path in sorted((ROOT / folder).rglob('*.py'))
    ]
    missing = [
        str(path.relative_to(ROOT))
        for path in files
        if 'SPDX-License-Identifier: Apache-2.0' not in path.read_text(encoding='utf-8')
        and path.stat().st_size
    ]
    assert len(files) > 20 and not missing
