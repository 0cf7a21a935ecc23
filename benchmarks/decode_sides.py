# SPDX-License-Identifier: Apache-2.0
"""One side of `decode.py` in a process of its own: prefills, decodes, prints what it took as one
line of JSON.

`python decode_sides.py '{"side": "onnxruntime", ...}'`; the fields of the object are those of
`Task`.
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
class Task:
    """`path` of a bundle, checkpoint or GGUF file; prefills `position` tokens in chunks of `chunk`,
    then decodes `steps`.
    """

    side: str
    path: str
    position: int
    steps: int
    chunk: int
    threads: int


@dataclass(frozen=True)
class Figures:
    """Seconds; `decode` per token, the median; `peak_bytes` of memory of the process."""

    load: float
    prefill: float
    decode: float
    peak_bytes: int


@dataclass(frozen=True)
class Network:
    """`append` (token ids, whether logits of the last one are wanted); `restart` forgets all
    positions.
    """

    append: Callable[[np.ndarray, bool], object]
    restart: Callable[[], object]
    vocabulary_size: int


def main() -> None:
    task = Task(**json.loads(sys.argv[1]))
    start = time.perf_counter()
    network = llama(task) if task.side == 'llama.cpp' else own_backend(task)
    loaded = time.perf_counter() - start
    ids = np.random.default_rng(0).integers(0, network.vocabulary_size, task.position + task.steps)
    network.append(
        ids[: task.chunk], True
    )  # once, not counted: memory is laid out, weights are read from the disk
    network.restart()
    start = time.perf_counter()
    for first in range(0, task.position, task.chunk):
        last = min(first + task.chunk, task.position)
        network.append(ids[first:last], last == task.position)
    prefill, steps = time.perf_counter() - start, []
    for index in range(task.position, len(ids)):
        start = time.perf_counter()
        network.append(ids[index : index + 1], True)
        steps.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(asdict(Figures(loaded, prefill, float(np.median(steps)), peak))))


def own_backend(task: Task) -> Network:
    """A backend of penguin_ros; torch in bfloat16."""
    from penguin_ros.backends.base.backend import Chunk
    from penguin_ros.backends.open_backend import make_backend
    from penguin_ros.config import ModelConfig
    from penguin_ros.requests.loaded_model import open_model

    is_torch = task.side == 'torch'
    config = ModelConfig(
        checkpoint=task.path if is_torch else '',
        bundle='' if is_torch else task.path,
        backend=task.side,
        device='cpu',
        precision='bfloat16' if is_torch else 'auto',
        kv_slots=1,
        threads=task.threads,
        max_length=max(MIN_LENGTH, task.position + task.steps),
    )
    backend = make_backend(config, open_model(config, lambda line: None))
    description = backend.open()
    slot = backend.new_slot()

    return Network(
        lambda ids, is_last: backend.forward(slot, Chunk(ids), [-1] if is_last else []),
        lambda: backend.truncate(slot, 0),
        description.vocabulary_size,
    )


def llama(task: Task) -> Network:
    """llama.cpp, through the package llama-cpp-python."""
    import llama_cpp as c

    parameters, settings = c.llama_model_default_params(), c.llama_context_default_params()
    settings.n_ctx = max(MIN_LENGTH, task.position + task.steps)
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

    return Network(
        append, lambda: c.llama_memory_clear(c.llama_get_memory(context), True), vocabulary_size
    )


if __name__ == '__main__':
    main()
