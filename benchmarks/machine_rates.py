# SPDX-License-Identifier: Apache-2.0
"""What this machine could do at best, measured: bytes read and numbers multiplied in a second."""
from __future__ import annotations

import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

BYTES = 1 << 29
REPEATS = 5


def best(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Seconds of the fastest of some runs, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def read_bandwidth(threads: int) -> float:
    """Bytes per second that `threads` threads read together from memory."""
    parts = [np.ones(BYTES // threads // 4, np.float32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = best(lambda: list(pool.map(np.max, parts)))
    return sum(part.nbytes for part in parts) / seconds


def float32_rate(threads: int) -> float:
    """Multiplications and additions per second in a product of float32 matrices; ONNX Runtime's, as the encoder's attention."""
    return _rate(threads, np.float32, 'MatMul')


def int8_rate(threads: int) -> float:
    """The same of int8 matrices, summed in int32: the most that any int8 or int4 product reaches here."""
    return _rate(threads, np.uint8, 'MatMulInteger')


def rates(threads: int) -> dict[str, float]:
    """All three, of this machine as it is now."""
    return {'bandwidth': read_bandwidth(threads), 'int8': int8_rate(threads), 'float32': float32_rate(threads)}


def machine(threads: int) -> str:
    """Name and features of the processor that matter here, and how many threads."""
    lines = dict(line.split(':', 1) for line in Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines() if ':' in line)
    facts = {key.strip(): value.strip() for key, value in lines.items()}
    present = facts.get('flags', facts.get('Features', '')).split()
    features = [name for name in ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'asimddp') if name in present]
    return f'{facts.get("model name", platform.machine())} ({", ".join(features)}), {threads} threads'


def _rate(threads: int, kind: type, operator: str) -> float:
    import onnxruntime
    from onnx import TensorProto, helper
    rows, inputs, outputs = 1024, 2048, 4096
    float32 = TensorProto.FLOAT
    types = (float32,) * 3 if kind is np.float32 else (TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32)
    weights = np.random.default_rng(0).integers(-100, 100, (inputs, outputs)).astype(kind if kind is np.float32 else np.int8)
    graph = helper.make_graph(
        [helper.make_node(operator, ['a', 'b'], ['c'])], 'product',
        [helper.make_tensor_value_info('a', types[0], (rows, inputs))],
        [helper.make_tensor_value_info('c', types[2], (rows, outputs))],
        [helper.make_tensor('b', types[1], weights.shape, weights.tobytes(), raw=True)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    values = np.ones((rows, inputs), kind)
    return 2 * rows * inputs * outputs / best(lambda: session.run(None, {'a': values}))
