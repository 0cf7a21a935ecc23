# SPDX-License-Identifier: Apache-2.0
"""The libraries that this package uses: which package brings a module, whether its version is one
that works, and what to do where importing it fails.

A library fails to import for more reasons than being absent: a file of the system that it needs is
not there, another copy comes before it on PYTHONPATH, or PYTHONNOUSERSITE hides it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import site
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from penguin_ros.errors import LibraryUnusable
from penguin_ros.installation import demands, install_command, normalised

PACKAGES = {
    'PIL': 'pillow',
    'aiohttp': 'aiohttp',
    'cuda': 'cuda-bindings',
    'cv2': 'opencv-python-headless',
    'huggingface_hub': 'huggingface_hub',
    'llguidance': 'llguidance',
    'matplotlib': 'matplotlib',
    'mcp': 'mcp',
    'mujoco': 'mujoco',
    'numpy': 'numpy',
    'onnx': 'onnx',
    'onnxruntime': 'onnxruntime',
    'py_trees': 'py_trees',
    'rich': 'rich',
    'rosbags': 'rosbags',
    'safetensors': 'safetensors',
    'tokenizers': 'tokenizers',
    'torch': 'torch',
    'yaml': 'PyYAML',
}
"""The package that brings each module."""

RIVALS = {'onnxruntime': ('onnxruntime', 'onnxruntime-gpu', 'onnxruntime-openvino')}
"""Packages that write to the same files; of several that are installed, the last one counts."""

BEFORE_IMPORT = {
    # The official builds report to their makers from 1.29 on, names of models included.
    'onnxruntime': ('ORT_DISABLE_TELEMETRY', '1'),
    'mujoco': ('MUJOCO_GL', 'egl'),  # draws without a screen
    # What decoders say of damaged files is counted and told by us, once for each cause.
    'cv2': ('OPENCV_FFMPEG_LOGLEVEL', '-8'),
    # Torch's threads otherwise spin while they wait for each other, which on a robot whose cores
    # are busy with other nodes made a clip take up to ten times as long.
    'torch': ('OMP_WAIT_POLICY', 'PASSIVE'),
}
"""The variable that each library reads when it is first imported, and what we set it to where the
user did not.
"""

SYSTEM_LIBRARIES = {
    'libGL.so': 'libgl1',
    'libEGL.so': 'libegl1',
    'libglib-2.0.so': 'libglib2.0-0',
    'libgthread-2.0.so': 'libglib2.0-0',
    'libgomp.so': 'libgomp1',
    'libSM.so': 'libsm6',
    'libXext.so': 'libxext6',
    'libXrender.so': 'libxrender1',
}
"""The Debian package of each shared library that wheels take for granted."""

_SHARED_LIBRARY = re.compile(r'(lib[\w.+-]+\.so)[\d.]*: cannot open shared object file')


def prepare(module: str) -> None:
    """Sets what a library reads when it is imported; to be called before that."""
    if module in BEFORE_IMPORT:
        os.environ.setdefault(*BEFORE_IMPORT[module])


def library_error(error: ImportError) -> LibraryUnusable | None:
    """Returns what an import that failed means for the user; None when no library of PACKAGES is to
    blame, which is a mistake of ours.
    """
    module = module_to_blame(error)
    if module not in PACKAGES:
        return None
    what = 'is missing' if is_absent(error, module) else 'does not import'
    return LibraryUnusable(f'the library {module} {what}', reason(error, module), remedy(error))


@contextmanager
def libraries_needed() -> Iterator[None]:
    """Runs a block; where importing a library fails in it, LibraryUnusable says which and why."""
    try:
        yield
    except ImportError as error:
        unusable = library_error(error)
        if unusable is None:
            raise
        raise unusable from error


def module_to_blame(error: BaseException) -> str:
    """Returns the top-level module that is absent or broken; '' when that cannot be told."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.split('.')[0]
    names = []
    trace = error.__traceback__
    while trace is not None:
        names.append(str(trace.tb_frame.f_globals.get('__name__', '')).split('.')[0])
        trace = trace.tb_next
    name = getattr(error, 'name', None) or ''
    blamed = [each for each in (*names, name.split('.')[0]) if each in PACKAGES]
    return blamed[-1] if blamed else ''


def is_absent(error: BaseException, module: str) -> bool:
    """Returns whether the module itself was not found, as opposed to found and broken."""
    return isinstance(error, ModuleNotFoundError) and error.name == module


def reason(error: BaseException, module: str) -> str:
    """Returns why importing a module failed, in one line, with the file that was tried."""
    if is_absent(error, module):
        hidden = _user_copy(module)
        package = PACKAGES.get(module, module)
        return (
            f'{package} lies in {hidden}, which PYTHONNOUSERSITE hides'
            if hidden
            else f'{package} is not installed for {sys.executable}'
        )
    blamed = module_to_blame(error) or module
    place = place_of(blamed)
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), '')
    by_path = ', which PYTHONPATH puts first' if shadowing_entry(blamed) else ''
    return f'{line or type(error).__name__} (of {place}{by_path})' if place else line


def remedy(error: BaseException, package: str = '') -> str:
    """Returns what to type after an import failed; `package` is meant where the error does not
    tell.
    """
    module = module_to_blame(error)
    package = PACKAGES.get(module, package or module)
    if is_absent(error, module) and _user_copy(module):
        return 'Type: unset PYTHONNOUSERSITE'
    entry = shadowing_entry(module) if module else ''
    missing = _SHARED_LIBRARY.search(str(error))
    debian = SYSTEM_LIBRARIES.get(missing[1]) if missing else None
    if entry and not is_absent(error, module):
        also = f'; if that copy is meant, type: sudo apt-get install {debian}' if debian else ''
        return f'Take {entry} out of PYTHONPATH{also}'
    if missing:
        return (
            f'Type: sudo apt-get install {debian}'
            if debian
            else f'Install the package of the system that brings {missing[1]}'
        )
    is_broken = module in PACKAGES and not is_absent(error, module)
    return f'Type: {install_command(package, options=["--force-reinstall"] if is_broken else ())}'


def version_of(module: ModuleType) -> str:
    """Returns the version of an imported library, as it says itself, or as its package does."""
    said = getattr(module, '__version__', None)
    if isinstance(said, str):
        return said
    try:
        return version(PACKAGES.get(module.__name__, module.__name__))
    except PackageNotFoundError:
        return ''


def installed_rivals(module: str) -> list[str]:
    """Returns the packages among RIVALS that are installed and bring a module."""
    found = []
    for package in RIVALS.get(module, ()):
        with suppress(PackageNotFoundError):
            version(package)
            found.append(package)
    return found


def version_complaint(package: str, found: str) -> str:
    """Returns which bound of setup.py a version breaks, 'older than 9.0' or 'not older than 14';
    '' when none, or when it is not known.
    """
    bounds = demands().get(normalised(package), '')
    if not found[:1].isdigit():
        return ''
    for sign, bound in re.findall(r'(>=|<)([\d.]+)', bounds):
        is_older = _numbers(found) < _numbers(bound)
        if sign == '>=' and is_older:
            return f'older than {bound}'
        if sign == '<' and not is_older:
            return f'not older than {bound}'
    return ''


def place_of(module: str) -> str:
    """Returns the file or folder that an import of the module finds; '' when there is none."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ''
    if spec is None:
        return ''
    return spec.origin or next(iter(spec.submodule_search_locations or []), '')


def shadowing_entry(module: str) -> str:
    """Returns the entry of PYTHONPATH from which a module comes although another copy of it lies
    further behind on the path; '' when none does.
    """
    entries = [entry for entry in os.environ.get('PYTHONPATH', '').split(os.pathsep) if entry]
    first, *others = [*_copies(module), None]
    if first is None or not any(other is not None for other in others):
        return ''
    return next((entry for entry in entries if _same(Path(entry), first[0])), '')


def _copies(module: str) -> Iterator[tuple[Path, Path]]:
    """Yields (entry of sys.path, real path) of each different copy of a module, the first found
    first.
    """
    seen = set()
    for entry in sys.path:
        folder = Path(entry or '.')
        found = next(
            (path for path in (folder / module, folder / f'{module}.py') if path.exists()), None
        )
        if found is not None and found.resolve() not in seen:
            seen.add(found.resolve())
            yield folder, found.resolve()


def _user_copy(module: str) -> str:
    """The folder of the user's own packages when PYTHONNOUSERSITE hides a module there."""
    if not os.environ.get('PYTHONNOUSERSITE') or sys.prefix != sys.base_prefix:
        return ''
    try:
        folder = Path(site.getusersitepackages())
    except (OSError, RuntimeError, KeyError):  # a user without a home
        return ''
    return str(folder) if (folder / module).exists() else ''


def _same(one: Path, other: Path) -> bool:
    return one.absolute() == other.absolute() or one.resolve() == other.resolve()


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r'\d+(\.\d+)*', text)
    numbers = [int(part) for part in match[0].split('.')] if match else []
    while numbers and numbers[-1] == 0:  # 9 and 9.0 are one version
        numbers.pop()
    return tuple(numbers)
