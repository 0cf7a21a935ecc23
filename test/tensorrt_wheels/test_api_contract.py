# SPDX-License-Identifier: Apache-2.0
"""Every use of TensorRT and CUDA in the code against the real bindings of each supported version,
by a type checker.

What a version offers is read from its bindings wheel in a process of its own and written down as
type stubs; mypy then checks the code with these. An attribute, a parameter, a member of an
enumeration or a type that is not there is an error. Behind `hasattr` a name may be missing in some
versions, not in all. Nothing is executed here.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import write_types
from support.slow_parts import sampled
from support.stub_libraries import write_stub_libraries
from support.wheels import (
    CUDA_VERSIONS,
    RTX_VERSIONS,
    TENSORRT_VERSIONS,
    cache_folder,
    cuda_bindings,
    rtx_bindings,
    tensorrt_bindings,
)

from penguin_ros.backends.tensorrt.library import BINDINGS

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ('tensorrt', 'cuda')
GENERATOR = Path(write_types.__file__)
DEFINITIONS = (('def ', '('), ('class ', ''), ('    ', ': ClassVar['))
"""What stands before and behind a name where a stub defines it."""


def imported(path: Path) -> set[str]:
    """Returns the top-level names of what a file imports; the file that chooses between the two
    TensorRTs hands one of them out.
    """
    nodes = list(ast.walk(ast.parse(path.read_text(encoding='utf-8'))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or '' for node in nodes if isinstance(node, ast.ImportFrom)]
    return {'tensorrt' if name == BINDINGS else name.split('.')[0] for name in names}


def users(*libraries: str) -> list[Path]:
    """Returns the files of the package that import one of these."""
    return [
        path
        for path in sorted((ROOT / 'penguin_ros').rglob('*.py'))
        if imported(path) & set(libraries)
    ]


@pytest.fixture(scope='session')
def stub_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of empty libraries for all versions."""
    return write_stub_libraries(tmp_path_factory.mktemp('stub_libraries'))


def types_of(module: str, wheel: Path, target: str, libraries: Path | None = None) -> Path:
    """A folder with the stub `target` of a module; kept between runs as long as the generator stays
    the same.
    """
    digest = hashlib.sha256(GENERATOR.read_bytes()).hexdigest()[:12]
    part = module.rpartition('.')[2]
    folder = cache_folder() / 'types' / f'{wheel.name}-{part}-{digest}'
    if not (folder / target).exists():
        draft = folder.with_suffix(f'.{os.getpid()}')
        environment = {
            **os.environ,
            'PYTHONPATH': str(wheel),
            'LD_LIBRARY_PATH': str(libraries or ''),
        }
        done = subprocess.run(
            [sys.executable, str(GENERATOR), module, str(draft / target)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    return folder


def tensorrt_types(version: str, libraries: Path) -> Path:
    """Stubs of a TensorRT, or of a TensorRT for RTX, as `tensorrt`."""
    if version in RTX_VERSIONS:
        return types_of(
            'tensorrt_rtx_bindings', rtx_bindings(version), 'tensorrt/__init__.pyi', libraries
        )
    return types_of(
        'tensorrt_bindings', tensorrt_bindings(version), 'tensorrt/__init__.pyi', libraries
    )


def cuda_types(version: str) -> tuple[Path, Path]:
    """Stubs of cuda.bindings.runtime, and of cuda.bindings.driver."""
    wheel = cuda_bindings(version)
    return (
        types_of('cuda.bindings.runtime', wheel, 'cuda/bindings/runtime.pyi'),
        types_of('cuda.bindings.driver', wheel, 'cuda/bindings/driver.pyi'),
    )


def complaints(files: list[Path], *types: Path) -> list[str]:
    """Returns what mypy says about the files with these stubs.

    All versions have one cache: between two of them only what follows the stubs is checked anew.
    """
    cache = types[0].with_name('mypy')
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'mypy',
            '--strict',
            '--config-file=',
            '--follow-imports=silent',
            '--ignore-missing-imports',
            '--no-error-summary',
            '--hide-error-context',
            '--explicit-package-bases',
            f'--cache-dir={cache}',
            *(str(file) for file in files),
        ],
        cwd=ROOT,
        env={**os.environ, 'MYPYPATH': os.pathsep.join(map(str, types))},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors = [line for line in done.stdout.splitlines() if ': error:' in line]
    # The bindings break some rules of subclassing themselves; but an unknown name in a stub would
    # be Any.
    assert not [
        line
        for line in errors
        if line.endswith(('[name-defined]', '[syntax]', '[valid-type]')) and '.pyi:' in line
    ]
    return [line for line in errors if '.pyi:' not in line]


@pytest.mark.parametrize(
    'version',
    sampled((*TENSORRT_VERSIONS, *RTX_VERSIONS), (TENSORRT_VERSIONS[0], TENSORRT_VERSIONS[-1])),
)
def test_every_use_of_tensorrt_exists_in_the_real_bindings(
    version: str, stub_libraries: Path
) -> None:
    files = users('tensorrt')
    assert {file.stem for file in files} >= {'engine', 'log', 'builder', 'gpu_check', 'bindings'}
    assert (
        complaints(files, tensorrt_types(version, stub_libraries), *cuda_types(CUDA_VERSIONS[-1]))
        == []
    )


@pytest.mark.parametrize('version', CUDA_VERSIONS)
def test_every_use_of_cuda_exists_in_the_real_bindings(version: str) -> None:
    files = users('cuda')
    assert files
    assert complaints(files, *cuda_types(version)) == []


def test_no_object_of_tensorrt_escapes_the_check() -> None:
    """An annotation Any, an unchecked cast or a comment would hide what stands behind it."""
    for path in users('tensorrt'):
        text = path.read_text(encoding='utf-8')
        assert 'typing' not in imported(path) or 'Any' not in text, path
        assert 'type: ignore' not in text and 'getattr(' not in text and 'cast(' not in text, path


def test_what_stands_behind_hasattr_exists_in_some_version(stub_libraries: Path) -> None:
    guarded = {
        node.args[1].value
        for path in users('tensorrt')
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == 'hasattr'
        and isinstance(node.args[1], ast.Constant)
    }
    assert guarded
    known = {
        version: (tensorrt_types(version, stub_libraries) / 'tensorrt' / '__init__.pyi').read_text(
            encoding='utf-8'
        )
        for version in (*TENSORRT_VERSIONS, *RTX_VERSIONS)
    }
    for name in guarded:
        holders = [
            version
            for version, text in known.items()
            if any(f'{start}{name}{end}' in text for start, end in DEFINITIONS)
        ]
        assert holders, f'no version has {name}'
        assert len(holders) < len(known), f'every version has {name}: the guard is not needed'


WRONG = """
import tensorrt as trt
def misuse(builder: trt.Builder, network: trt.INetworkDefinition, engine: trt.ICudaEngine) -> None:
    network.add_kv_cache()
    builder.create_network(flag=1)
    builder.create_network('strong')
    engine.get_tensor_profile_shape('x')
    print(trt.MemoryPoolType.WORKPLACE, trt.IBuilder)
    network.get_input(0).dtype.size_in_bytes()
    for name in engine.num_io_tensors: ...
    builder.create_optimization_profile().set_shape('x', trt.Dims([1]), most=trt.Dims([1]))
"""


@pytest.mark.parametrize('version', [TENSORRT_VERSIONS[0], TENSORRT_VERSIONS[-1]])
def test_a_wrong_use_would_be_found(version: str, stub_libraries: Path, tmp_path: Path) -> None:
    file = tmp_path / 'wrong_use.py'
    file.write_text(WRONG, encoding='utf-8')
    found = complaints([file], tensorrt_types(version, stub_libraries))
    lines = {int(line.partition('.py:')[2].partition(':')[0]) for line in found}
    assert lines == {4, 5, 6, 7, 8, 9, 10, 11}, found
    assert len(found) >= 9
