# SPDX-License-Identifier: Apache-2.0
"""One runtime of `decode.py` in a process of its own: prefills, decodes, and prints what it took as
one line of JSON.

`python decode_runtime.py '{"runtime": "onnxruntime", ...}'`; the fields of the object are those of
`DecodeTask`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

MIN_LENGTH = 64


@dataclass(frozen=True)
class DecodeTask:
    """Prefills `position` tokens in chunks of `chunk`, then decodes `steps` tokens, with the
    bundle, checkpoint or GGUF file at `path` on a `runtime`: onnxruntime, torch or llama.cpp.
    """

    runtime: str
    path: str
    position: int
    steps: int
    chunk: int
    threads: int

    @property
    def max_length(self) -> int:
        """The positions that the KV cache needs."""
        return max(MIN_LENGTH, self.position + self.steps)


@dataclass(frozen=True)
class DecodeFigures:
    """Seconds to load and to prefill, the median seconds to `decode` one token, and the highest
    memory of the process.
    """

    load: float
    prefill: float
    decode: float
    peak_bytes: int


@dataclass(frozen=True)
class TimedNetwork:
    """`append` takes token ids, and whether the logits of the last one are wanted; `restart`
    forgets all positions.
    """

    append: Callable[[np.ndarray, bool], object]
    restart: Callable[[], object]
    vocabulary_size: int


def main() -> None:
    """Runs the task of the first argument."""
    task = DecodeTask(**json.loads(sys.argv[1]))
    start = time.perf_counter()
    network = llama(task) if task.runtime == 'llama.cpp' else own_backend(task)
    loaded = time.perf_counter() - start
    ids = np.random.default_rng(0).integers(0, network.vocabulary_size, task.position + task.steps)
    # Once, not counted: memory is laid out, weights are read from the disk.
    network.append(ids[: task.chunk], True)
    network.restart()
    start = time.perf_counter()
    for first in range(0, task.position, task.chunk):
        last = min(first + task.chunk, task.position)
        network.append(ids[first:last], last == task.position)
    prefill = time.perf_counter() - start
    steps = []
    for index in range(task.position, len(ids)):
        start = time.perf_counter()
        network.append(ids[index : index + 1], True)
        steps.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(asdict(DecodeFigures(loaded, prefill, float(np.median(steps)), peak))))


def own_backend(task: DecodeTask) -> TimedNetwork:
    """A backend of penguin_ros on the CPU; torch in bfloat16."""
    from penguin_ros.backends.base.backend import Chunk
    from penguin_ros.benchmark.engine.model import open_target
    from penguin_ros.benchmark.tasks import Target

    settings = {
        'model.backend': task.runtime,
        'model.device': 'cpu',
        'model.precision': 'bfloat16' if task.runtime == 'torch' else 'auto',
        'model.threads': task.threads,
        'model.max_length': task.max_length,
    }
    backend = open_target(Target(task.path, settings=settings)).backend
    slot = backend.new_slot()
    return TimedNetwork(
        lambda ids, is_last: backend.forward(slot, Chunk(ids), [-1] if is_last else []),
        lambda: backend.truncate(slot, 0),
        backend.description.vocabulary_size,
    )


def llama(task: DecodeTask) -> TimedNetwork:
    """llama.cpp, through the package llama-cpp-python."""
    import llama_cpp as c

    parameters = c.llama_model_default_params()
    settings = c.llama_context_default_params()
    settings.n_ctx = task.max_length
    settings.n_batch = settings.n_ubatch = max(task.chunk, 512)
    settings.n_threads = settings.n_threads_batch = task.threads
    model = c.llama_model_load_from_file(task.path.encode(), parameters)
    context = c.llama_init_from_model(model, settings)
    vocabulary_size = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))

    def append(ids: np.ndarray, is_last: bool) -> None:
        tokens = (c.llama_token * len(ids))(*map(int, ids))
        status = c.llama_decode(context, c.llama_batch_get_one(tokens, len(ids)))
        if status:
            raise RuntimeError(f'llama_decode returned {status}')

    return TimedNetwork(
        append, lambda: c.llama_memory_clear(c.llama_get_memory(context), True), vocabulary_size
    )


if __name__ == '__main__':
    main()
