# SPDX-License-Identifier: Apache-2.0
"""A process that compiles kernels: one JSON line in names a kernel and a target, one JSON line out
says what became of it, and the files lie in the folder that is its argument.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penguin_ros.kernels.table import HIDDEN_POINTERS, Kernel, kernel_of

SPILLS = re.compile(r'(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads')
REGISTERS = re.compile(r'Used (\d+) registers')
PARAMETERS = re.compile(r'\.param')


def compile_kernel(kernel: Kernel, target: int, ptx_version: int, folder: Path) -> dict[str, Any]:
    """Writes `name`.ptx and `name`.cubin; returns the other fields of a `Compiled`."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.compiler import get_ptxas, sm_arch_from_capability
    from triton.compiler import ASTSource

    module, function = kernel.source.split('.')
    source = getattr(importlib.import_module(f'penguin_ros.kernels.sources.{module}'), function)
    kinds = {argument.name: argument.kind for argument in kernel.arguments}
    signature = {name: kinds.get(name, 'constexpr') for name in source.arg_names}
    attributes = {
        (source.arg_names.index(argument.name),): [['tt.divisibility', 16]]
        for argument in kernel.arguments
        if argument.is_aligned
    }
    made = triton.compile(
        ASTSource(source, signature, dict(kernel.constants), attributes),
        target=GPUTarget('cuda', target, 32),
        options={
            'num_warps': kernel.warps,
            'num_stages': kernel.stages,
            'ptx_version': ptx_version,
            'enable_fp_fusion': True,
        },
    )
    if made.metadata.global_scratch_size or made.metadata.profile_scratch_size:
        raise RuntimeError(f'{kernel.name} needs working memory of its own')
    ptx = made.asm['ptx']
    _check_parameters(kernel, ptx)
    (folder / f'{kernel.name}.ptx').write_text(ptx)
    compiler = get_ptxas(target)
    report = _assembled(compiler.path, sm_arch_from_capability(target), folder, kernel.name)
    return {
        'symbol': made.metadata.name,
        'shared_bytes': made.metadata.shared,
        'compiler': f'triton {triton.__version__}, ptxas {compiler.version}',
        **report,
    }


def _check_parameters(kernel: Kernel, ptx: str) -> None:
    head = ptx[ptx.index('.entry') : ptx.index('{', ptx.index('.entry'))]
    count = head.count('.param')
    if count != len(kernel.arguments) + HIDDEN_POINTERS:
        raise RuntimeError(f'{kernel.name} has {count} parameters in PTX')


def _assembled(ptxas: str, architecture: str, folder: Path, name: str) -> dict[str, Any]:
    cubin = folder / f'{name}.cubin'
    done = subprocess.run(
        [
            ptxas,
            '-v',
            '--regAllocOptLevel=2',
            f'--gpu-name={architecture}',
            str(folder / f'{name}.ptx'),
            '-o',
            str(cubin),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f'{name}: ptxas: {done.stderr[-2000:]}')
    spills, registers = SPILLS.search(done.stderr), REGISTERS.search(done.stderr)
    assert spills is not None and registers is not None, done.stderr
    stack, stored, loaded = (int(number) for number in spills.groups())
    return {
        'registers': int(registers.group(1)),
        'spilled_bytes': stored + loaded,
        'stack_bytes': stack,
        'warnings': [line for line in done.stderr.splitlines() if 'warning' in line.lower()],
    }


def main() -> None:
    """Serves until its input ends."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as cache:
        # Products of float32 are products of float32: tensor cores would take 10 bits of them.
        os.environ.update(
            TRITON_CACHE_DIR=cache, TRITON_DISABLE_LINE_INFO='1', TRITON_F32_DEFAULT='ieee'
        )
        for line in sys.stdin:
            job: Mapping[str, Any] = json.loads(line)
            try:
                result = compile_kernel(
                    kernel_of(job['kernel']), job['target'], job['ptx_version'], folder
                )
            except Exception as error:  # it goes to who asked
                result = {'error': ''.join(traceback.format_exception(error))[-4000:]}
            print(json.dumps(result), flush=True)


if __name__ == '__main__':
    main()
