# SPDX-License-Identifier: Apache-2.0
"""Empty shared libraries under TensorRT's names, so that its real Python bindings import where
there is no TensorRT.

The bindings are linked against two or three libraries but use only nine C functions of them;
nothing can be executed with these.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

LIBRARIES = (
    *(
        f'lib{name}.so.{major}'
        for name in ('nvinfer', 'nvinfer_plugin', 'nvonnxparser')
        for major in (10, 11)
    ),
    'libtensorrt_rtx.so.1',
    'libtensorrt_onnxparser_rtx.so.1',
)
SYMBOLS = (
    'createInferBuilder_INTERNAL',
    'createInferRefitter_INTERNAL',
    'createInferRuntime_INTERNAL',
    'createNvOnnxParser_INTERNAL',
    'createNvOnnxParserRefitter_INTERNAL',
    'getBuilderPluginRegistry',
    'getPluginRegistry',
    'getNvOnnxParserVersion',
    'initLibNvInferPlugins',
)


def write_stub_libraries(folder: Path) -> Path:
    """Writes those of TensorRT 10, 11 and for RTX into `folder` and returns it; the test is skipped
    without a C compiler.
    """
    compiler = shutil.which('gcc') or shutil.which('cc')
    if compiler is None:
        pytest.skip('no C compiler, so no stub libraries')
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / 'empty.c'
    source.write_text(
        ''.join(f'void *{symbol}(void) {{ return 0; }}\n' for symbol in SYMBOLS), encoding='utf-8'
    )
    for library in LIBRARIES:
        subprocess.run(
            [
                compiler,
                '-shared',
                '-fPIC',
                f'-Wl,-soname,{library}',
                '-o',
                str(folder / library),
                str(source),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
    return folder
