# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's own HTTP server over the files of tiny_gguf.py: `python llama_server.py FOLDER PORT`.
It ends with its standard input.
"""

import sys
from pathlib import Path

import xllamacpp

if __name__ == '__main__':
    folder, parameters = Path(sys.argv[1]), xllamacpp.CommonParams()
    parameters.model.path = str(folder / 'model.gguf')
    parameters.mmproj.path = str(folder / 'mmproj.gguf')
    parameters.port = int(sys.argv[2])
    parameters.n_ctx = 4096
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = 1
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    sys.stdin.read()
