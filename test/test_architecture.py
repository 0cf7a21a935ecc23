# SPDX-License-Identifier: Apache-2.0
"""The rooms of the package, who may import whom, and the rules for files. The table is the one of the design, as data."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'penguin_ros'
MAX_FILE_LINES, MAX_FUNCTION_LINES = 250, 40
FORBIDDEN_NAMES = {'util', 'helper', 'common', 'misc', 'manager', 'handler', 'data', 'info'}
INFERENCE_LIBRARIES = ('torch', 'onnxruntime', 'tensorrt', 'cuda')
BLOCKED = ('rclpy', 'penguin_msgs', 'mujoco', *INFERENCE_LIBRARIES)

VALUES = ('config', 'errors', 'frame', 'request', 'model_inputs')
CORE = (*VALUES, 'clip_buffer', 'checkpoint', 'preprocessing', 'backends', 'generation', 'scheduler', 'window', 'answering',
        'pipeline')
MESSAGES = ('builtin_interfaces', 'diagnostic_msgs', 'lifecycle_msgs', 'penguin_msgs', 'rcl_interfaces', 'rosgraph_msgs',
            'sensor_msgs', 'std_msgs', 'std_srvs')


@dataclass(frozen=True)
class Room:
    """What the files of a room may import: modules of penguin_ros (a name covers what lies below it), libraries, or None: all.

    `own`: libraries that only some files may import, by the beginning of the file's name.
    """

    modules: tuple[str, ...] | None
    libraries: tuple[str, ...] | None = ()
    own: tuple[tuple[str, str], ...] = ()


ROOMS = {
    'config': Room(('errors',)),
    'errors': Room(()),
    'frame': Room(('errors',), ('numpy',)),
    'request': Room(('errors', 'frame')),
    'model_inputs': Room(('errors', 'frame'), ('numpy',)),
    'clip_buffer': Room(VALUES, ('numpy',)),
    'checkpoint': Room(('config', 'errors'), ('numpy', 'safetensors', 'tokenizers', 'transformers', 'huggingface_hub')),
    'preprocessing': Room((*VALUES, 'checkpoint'), ('numpy', 'PIL', 'cv2')),
    'backends': Room((*VALUES, 'checkpoint'), ('numpy',), (
        ('torch', 'torch_'), ('onnxruntime', 'onnx_'), ('tensorrt', 'tensorrt_'), ('cuda', 'tensorrt_'),
        ('yaml', 'bundle'))),
    'generation': Room((*VALUES, 'backends.base'), ('numpy',)),
    'scheduler': Room(VALUES),
    'window': Room((*VALUES, 'clip_buffer', 'clip_choice', 'preprocessing')),
    # The pipeline's parts: what it tells about itself, and what makes an answer of a request.
    'answering': Room((*VALUES, 'clip_buffer', 'checkpoint', 'preprocessing', 'backends.base', 'backends.bundle', 'generation',
                       'window', 'pipeline_status')),
    'pipeline': Room(CORE),
    # Video files and bags as frames, for the command line.
    'recording': Room(VALUES, ('numpy', 'cv2', 'rosbags')),
    # A new engine is loaded before it replaces an old one, so its builder needs what loads engines.
    'export': Room((*VALUES, 'checkpoint', 'backends.bundle', 'backends.bundle_manifest', 'backends.tensorrt_cache',
                    'backends.tensorrt_device', 'backends.tensorrt_engine', 'backends.tensorrt_log', 'backends.tensorrt_record',
                    'backends.tensorrt_version'), ('numpy', 'onnx', 'tensorrt')),
    'simulation': Room(VALUES, ('numpy', 'mujoco')),
    # Of the core its front door only, and the values that come out of it.
    'ros': Room((*VALUES, 'pipeline', 'pipeline_status', 'answering.question_text', 'clip_buffer', 'scheduler.worker_status',
                 'window.camera_window',
                 'simulation'), ('rclpy', 'cv_bridge', 'cv2', 'PIL', 'numpy', *MESSAGES)),
    'cli': Room(None, None),
}
FILES_IN_OTHER_ROOMS = {'clip_choice': 'clip_buffer', 'pipeline_status': 'pipeline'}
SIMULATED_CAMERA = 'sim_camera'  # of the room ros, only files of such a name may import the simulation


@dataclass(frozen=True)
class Import:
    """`module` as written; `is_late`: inside a function or for type checking only."""

    module: str
    is_late: bool


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob('*.py'))


def name_of(path: Path) -> str:
    return '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)


def room_of(module: str) -> str:
    top = module.split('.')[0]
    return FILES_IN_OTHER_ROOMS.get(top, top)


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
            module = child.module or ''
            if module == 'penguin_ros' or (PACKAGE / module.partition('.')[2].replace('.', '/')).is_dir():
                yield from (Import(f'{module}.{alias.name}', is_late) for alias in child.names)
            else:
                yield Import(module, is_late)
        else:
            is_for_types = isinstance(child, ast.If) and 'TYPE_CHECKING' in ast.unparse(child.test)
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from _imports(child, is_late or is_for_types or is_function)


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
        if room.modules is not None and not is_covered(inside, room.modules):
            return f'{room_of(name)} must not import {inside}'
        if room_of(name) == 'ros' and inside.startswith('simulation') and SIMULATED_CAMERA not in path.stem:
            return 'only the simulated camera imports the simulation'
    elif top not in sys.stdlib_module_names and room.libraries is not None:
        own = [beginning for library, beginning in room.own if library == top]
        if top not in room.libraries and not any(path.name.startswith(beginning) for beginning in own):
            return f'{room_of(name)} must not import {top}'
    return ''


def test_every_file_belongs_to_a_room() -> None:
    assert {room_of(name_of(path)) for path in sources() if path.name != '__init__.py'} <= set(ROOMS)


@pytest.mark.parametrize('path', sources(), ids=name_of)
def test_imports_point_down_only(path: Path) -> None:
    if path.name == '__init__.py':
        assert path.read_bytes() == b'', 'every __init__.py is empty'
        return
    assert not [why for item in imports_of(path) if (why := violation(path, item.module))]


@pytest.mark.parametrize(('file', 'module'), [
    ('clip_buffer.py', 'cv2'), ('scheduler/scheduler.py', 'numpy'), ('generation/loop.py', 'penguin_ros.backends.torch_backend'),
    ('preprocessing/patches.py', 'torch'), ('backends/open_backend.py', 'torch'), ('backends/base.py', 'penguin_ros.generation'),
    ('pipeline.py', 'penguin_ros.ros.penguin_node'), ('frame.py', 'penguin_ros.request'), ('errors.py', 'numpy'),
    ('answering/answer_job.py', 'penguin_ros.pipeline'), ('ros/penguin_node.py', 'penguin_ros.generation.loop'),
    ('ros/penguin_node.py', 'penguin_ros.simulation.world'), ('ros/penguin_node.py', 'torch'),
    ('recording/video.py', 'penguin_ros.pipeline'), ('window/growing.py', 'penguin_ros.answering.clip_search'),
])
def test_an_import_that_points_up_would_be_seen(file: str, module: str) -> None:
    assert violation(PACKAGE / file, module)


def test_late_imports_are_seen_too() -> None:
    late = [item.module for item in imports_of(PACKAGE / 'backends' / 'torch_backend.py') if item.is_late]
    assert 'torch' in late and any(module.startswith('penguin_ros.backends.torch_network') for module in late)


def bound_to_inference_libraries() -> set[str]:
    """Modules that import an inference library when they are imported, or another such module."""
    early = {f'penguin_ros.{name_of(path)}': {item.module for item in imports_of(path) if not item.is_late} for path in sources()}
    bound: set[str] = set()
    while True:
        more = {name for name, modules in early.items() if name not in bound
                and (modules & bound or any(module.split('.')[0] in INFERENCE_LIBRARIES for module in modules))}
        if not more:
            return bound
        bound |= more


def test_the_core_imports_with_ros_and_every_inference_library_blocked() -> None:
    bound = bound_to_inference_libraries()
    modules = [name for path in sources() if (name := f'penguin_ros.{name_of(path)}') not in bound
               and path.name != '__init__.py' and (room_of(name_of(path)) in CORE or room_of(name_of(path)) == 'recording')]
    assert {f'penguin_ros.{name}' for name in ('pipeline', 'backends.torch_backend', 'backends.tensorrt_backend')} <= set(modules)
    script = f'''
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
for name in {modules!r}:
    importlib.import_module(name)
'''
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('path', [path for path in sources() if path.name != '__init__.py'], ids=name_of)
def test_a_file_says_what_it_is_and_stays_short(path: Path) -> None:
    lines = path.read_text(encoding='utf-8').splitlines()
    assert lines[0] == '# SPDX-License-Identifier: Apache-2.0'
    assert ast.get_docstring(tree_of(path)), 'the docstring says what the room knows and does not know'
    assert len(lines) <= MAX_FILE_LINES
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions
            if node.end_lineno and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES}
    assert not long


@pytest.mark.parametrize('path', [path for path in sources() if path.name != '__init__.py'], ids=name_of)
def test_names_say_more_than_that_something_is_kept_there(path: Path) -> None:
    classes = [node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    words = [word.lower() for name in (path.stem, path.parent.name, *classes) for word in re.findall('[A-Z]?[a-z]+', name)]
    assert not [word for word in words if word in FORBIDDEN_NAMES or word.removesuffix('s') in FORBIDDEN_NAMES]


def test_every_python_file_of_the_repository_has_the_licence_line() -> None:
    files = [path for folder in ('test', 'tools', 'benchmarks', 'launch') for path in sorted((ROOT / folder).rglob('*.py'))]
    missing = [str(path.relative_to(ROOT)) for path in files
               if 'SPDX-License-Identifier: Apache-2.0' not in path.read_text(encoding='utf-8') and path.stat().st_size]
    assert len(files) > 20 and not missing
