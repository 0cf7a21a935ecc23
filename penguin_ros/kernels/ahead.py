# SPDX-License-Identifier: Apache-2.0
"""Compiles kernels ahead of time, for cards that are not here, in as many processes as there are
cores.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from penguin_ros.errors import BuildRefused
from penguin_ros.kernels.library import environment
from penguin_ros.kernels.table import TARGETS, Compiled, Kernel

SOURCES = Path(__file__).parent / 'sources'


def digest_of_sources(kernels: Iterable[Kernel]) -> str:
    """Returns the SHA-256, in hexadecimal, of all sources but their words, and of what the kernels
    are compiled with.
    """
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob('*.py')):
        digest.update(f'{path.name}\0{code_of(path)}\0'.encode())
    for kernel in sorted(kernels, key=lambda kernel: kernel.name):
        digest.update(json.dumps(kernel.as_json(), sort_keys=True).encode())
    return digest.hexdigest()


def code_of(path: Path) -> str:
    """Returns the words of a file that a compiler reads: neither comments nor docstrings."""
    stat = path.stat()
    return _code_of(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(64)
def _code_of(path: Path, mtime_ns: int, size: int) -> str:
    words, begins_line = [], True
    with path.open('rb') as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING):
                continue
            if token.type == tokenize.NEWLINE or (token.type == tokenize.STRING and begins_line):
                begins_line = begins_line or token.type == tokenize.NEWLINE
                continue
            words.append(token.string)
            begins_line = token.type in (tokenize.INDENT, tokenize.DEDENT)
    return '\0'.join(words)


def compile_ahead(
    kernels: Sequence[Kernel], target: int, ptx_version: int = 0, processes: int = 0
) -> list[Compiled]:
    """Compiles kernels for a target of TARGETS, in their order, with its PTX version where none is
    given. BuildRefused where Triton is missing, or does not compile one.
    """
    version = ptx_version or TARGETS[target]
    count = max(1, min(processes or os.cpu_count() or 1, len(kernels)))
    environment(is_interpreted=False)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(count) as pool:
        parts = [kernels[start::count] for start in range(count)]
        results = pool.map(lambda part: _compile(part, target, version, Path(folder)), parts)
        made = {compiled.kernel.name: compiled for part in results for compiled in part}
    return [made[kernel.name] for kernel in kernels]


def _compile(
    kernels: Sequence[Kernel], target: int, ptx_version: int, folder: Path
) -> list[Compiled]:
    jobs = [
        json.dumps({'kernel': kernel.as_json(), 'target': target, 'ptx_version': ptx_version})
        for kernel in kernels
    ]
    done = subprocess.run(
        [sys.executable, '-m', 'penguin_ros.kernels.compile_process', str(folder)],
        env=environment(is_interpreted=False),
        input='\n'.join(jobs),
        capture_output=True,
        text=True,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(kernels):
        raise _refused(kernels[len(answers)], target, f'ended: {done.stderr[-2000:]}')
    return [
        _compiled(kernel, target, ptx_version, answer, folder)
        for kernel, answer in zip(kernels, answers, strict=True)
    ]


def _compiled(
    kernel: Kernel, target: int, ptx_version: int, answer: dict[str, Any], folder: Path
) -> Compiled:
    if 'error' in answer:
        raise _refused(kernel, target, answer['error'])
    return Compiled(
        kernel=kernel,
        target=target,
        ptx_version=ptx_version,
        ptx=(folder / f'{kernel.name}.ptx').read_text(),
        cubin=(folder / f'{kernel.name}.cubin').read_bytes(),
        **{**answer, 'warnings': tuple(answer['warnings'])},
    )


def _refused(kernel: Kernel, target: int, why: str) -> BuildRefused:
    return BuildRefused(
        f'the kernel {kernel.name} does not compile for sm_{target}',
        why,
        'Take the version of Triton in requirements/kernels.txt',
    )
