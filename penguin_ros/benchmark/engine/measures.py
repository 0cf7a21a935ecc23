# SPDX-License-Identifier: Apache-2.0
"""One round of measurements on an open backend: the stored clip up to its first token, an answer to
it, and decoding at a position.

Tokens are chosen greedily, with the calls that the generation loop makes. A small image and two
tokens are run before and not counted, so that weights are in memory and working memory is laid out.
On a device that is not the CPU, all that is measured runs once before: there every new shape costs
what comes again never does (a plan, a graph of launches, more memory).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Backend, Chunk, Features
from penguin_ros.benchmark.engine.answer_arrays import write_answer
from penguin_ros.benchmark.engine.model import Opened, open_target
from penguin_ros.benchmark.engine.tasks import EngineTask, Round
from penguin_ros.benchmark.machine import available_bytes, device_copy_rate, resident_bytes
from penguin_ros.benchmark.stored_clip import QUESTION, stored_clip, stored_images
from penguin_ros.errors import PromptTooLong, SettingError
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.generation.frame_preparation import prepare_all
from penguin_ros.generation.sampler import checked_token_id
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.steps import run_to_end

POSITION = 700
"""The position at which decoding is measured by default: about that of a clip of eight frames and
its question.
"""

IMAGE_TOKENS = 64
"""Largest number of visual tokens of the image of a short task, and of the warm-up of a long
one.
"""


@dataclass(eq=False)
class MeasuredAnswer:
    """The stored input on its way to an answer: the `features` of its frames, the token `ids`
    chosen so far, and the `seconds` of each phase.
    """

    inputs: ModelInputs
    features: list[Features] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def measure_round(task: EngineTask) -> Round:
    """Opens the target, runs one round and closes it; raises what any of that raises."""
    free = available_bytes()
    opened = open_target(task.target)
    try:
        samples: dict[str, float] = {
            'load_s': opened.load_s,
            'resident_loaded': resident_bytes()[0],
        }
        facts = opened.facts()
        is_on_device = facts['device'] != 'cpu'
        if not task.is_short:
            facts['position'] = position = _position(opened, task)
            _answer(opened, _image_inputs(opened), 2)  # the warm-up
        start = time.perf_counter()
        inputs = _image_inputs(opened) if task.is_short else _clip_inputs(opened)
        prepare_all(inputs.frames)
        prepare_s = time.perf_counter() - start
        if not task.is_short and is_on_device:
            _answer(opened, inputs, task.max_tokens)
        answer = _answer(opened, inputs, task.max_tokens, task)
        samples |= {'prepare_s': prepare_s, **answer.seconds}
        samples['first_token_s'] = sum(
            samples[phase] for phase in ('prepare_s', 'encode_s', 'prefill_s')
        )
        facts |= _input_facts(inputs)
        answer.features.clear()
        if not task.is_short:
            for _ in range(2 if is_on_device else 1):
                at_position = _at_position(opened, position, task.steps)
            samples |= at_position
            samples |= _device(facts)
        samples['resident'], samples['resident_peak'] = resident_bytes()
        samples['taken'] = max(0, free - available_bytes())
        return Round(None, facts, samples, tuple(answer.ids), _text(opened, answer.ids))
    finally:
        opened.backend.close()


def _image_inputs(opened: Opened) -> ModelInputs:
    preprocessor = opened.preprocessor(max_visual_tokens=IMAGE_TOKENS)
    return preprocessor.images_inputs(stored_images(1), QUESTION)


def _clip_inputs(opened: Opened) -> ModelInputs:
    return opened.preprocessor().clip_inputs(stored_clip(), QUESTION)


def _input_facts(inputs: ModelInputs) -> dict[str, Any]:
    return {
        'patches': [len(frame.pixels) for frame in inputs.frames],
        'visual_tokens': inputs.visual_tokens,
        'prompt_tokens': len(inputs.prompt.token_ids),
    }


def _answer(
    opened: Opened, inputs: ModelInputs, max_tokens: int, task: EngineTask | None = None
) -> MeasuredAnswer:
    """Encodes, prefills and decodes `max_tokens` without stopping at a stop token; then writes the
    arrays of a comparison when `task` asks for them.
    """
    backend = opened.backend
    answer = MeasuredAnswer(inputs)
    prompt_tokens = len(inputs.prompt.token_ids)
    room = backend.description.max_length
    if prompt_tokens + max_tokens > room:
        raise PromptTooLong(
            f'the stored input has {prompt_tokens} tokens, its answer {max_tokens}',
            f'a KV slot holds {room}',
            'Add --set visual.max_visual_tokens=N, or build the bundle with a larger --max-length',
        )
    slot = backend.new_slot()
    try:
        _encode(backend, answer)
        _prefill(backend, slot, answer, _chunk(opened))
        _decode(backend, slot, answer, max_tokens)
        if task is not None and task.arrays:
            backend.truncate(slot, prompt_tokens - 1)
            write_answer(
                task, opened, slot, inputs, answer.features, _until_stop(opened, answer.ids)
            )
        return answer
    finally:
        backend.free_slot(slot)


def _encode(backend: Backend, answer: MeasuredAnswer) -> None:
    """Encodes all frames. A GPU may still be at work when the call returns, so the features of the
    last frame are read there.
    """
    start = time.perf_counter()
    answer.features.extend(run_to_end(backend.encode(answer.inputs.frames)))
    if backend.description.device != 'cpu':
        backend.read_features(answer.features[-1])
    answer.seconds['encode_s'] = time.perf_counter() - start


def _chunk(opened: Opened) -> int:
    """Positions that are prefilled per step."""
    return opened.config.model.prefill_chunk or opened.backend.description.prefill_chunk


def _prefill(backend: Backend, slot: int, answer: MeasuredAnswer, chunk_size: int) -> None:
    start = time.perf_counter()
    *chunks, last = prompt_chunks(answer.inputs, answer.features, chunk_size)
    for chunk in chunks:
        backend.forward(slot, chunk)
    answer.ids.append(checked_token_id(backend.forward_greedy(slot, last)))
    answer.seconds['prefill_s'] = time.perf_counter() - start


def _decode(backend: Backend, slot: int, answer: MeasuredAnswer, max_tokens: int) -> None:
    start = time.perf_counter()
    while len(answer.ids) < max_tokens:
        answer.ids.append(
            checked_token_id(
                backend.forward_greedy(slot, Chunk(np.array(answer.ids[-1:], np.int64)))
            )
        )
    answer.seconds['answer_token_s'] = (time.perf_counter() - start) / max(1, max_tokens - 1)


def _position(opened: Opened, task: EngineTask) -> int:
    """The number of tokens before the first one decoded; SettingError when what was asked for does
    not fit.
    """
    room = opened.backend.description.max_length - task.steps
    if room < 1 or task.position > room:
        raise SettingError(
            f'--position {task.position or POSITION} and {task.steps} steps',
            f'a KV slot of {task.target.source} holds {opened.backend.description.max_length}',
            f'Give --position {room} at most' if room > 0 else 'Give fewer --steps',
        )
    return task.position or min(POSITION, room)


def _at_position(opened: Opened, position: int, steps: int) -> dict[str, float]:
    """Prefills `position` random tokens, then feeds `steps` more one by one, whatever the model
    would say.
    """
    backend = opened.backend
    chunk = _chunk(opened)
    ids = np.random.default_rng(0).integers(
        0, backend.description.vocabulary_size, position + steps
    )
    slot = backend.new_slot()
    times = []
    try:
        start = time.perf_counter()
        for first in range(0, position, chunk):
            _append(
                backend, slot, ids[first : min(first + chunk, position)], first + chunk >= position
            )
        prefill = time.perf_counter() - start
        for index in range(position, position + steps):
            start = time.perf_counter()
            _append(backend, slot, ids[index : index + 1], True)
            times.append(time.perf_counter() - start)
        backend.truncate(slot, position)
        on_device = _device_times(backend, slot, ids[position:])
    finally:
        backend.free_slot(slot)
    samples = {'position_prefill_s': prefill, 'token_s': float(np.median(times))}
    return samples | ({'token_device_s': float(np.median(on_device))} if on_device else {})


def _device_times(backend: Backend, slot: int, ids: NDArray[np.int64]) -> list[float]:
    """Feeds the same tokens again, each timed by the device's clock; nothing where it has none."""
    times = []
    for index in range(len(ids)):
        one = ids[index : index + 1]
        _, seconds = backend.time_on_device(lambda one=one: _append(backend, slot, one, True))  # type: ignore[misc]
        if seconds is None:
            break
        times.append(seconds)
    return times


def _append(backend: Backend, slot: int, ids: np.ndarray, is_asked: bool) -> None:
    if is_asked:
        checked_token_id(backend.forward_greedy(slot, Chunk(ids)))
    else:
        backend.forward(slot, Chunk(ids))


def _device(facts: dict[str, Any]) -> dict[str, float]:
    """Measures copies within the memory of the GPU, when the target runs on one."""
    if facts['device'] == 'cpu':
        return {}
    rate, facts['device_copy'] = device_copy_rate()
    return {} if rate is None else {'device_bytes_per_s': rate}


def _until_stop(opened: Opened, ids: Sequence[int]) -> list[int]:
    """The tokens up to the first stop token, which is included."""
    stops = opened.model.shape.stop_token_ids
    end = next((index for index, token_id in enumerate(ids) if token_id in stops), len(ids))
    return list(ids[: end + 1])


def _text(opened: Opened, ids: Sequence[int]) -> str:
    from penguin_ros.generation.detokenizer import Detokenizer

    stops = opened.model.shape.stop_token_ids
    stream = Detokenizer(opened.model.tokenizer.token_bytes)
    return (
        ''.join(
            stream.push(token_id) for token_id in _until_stop(opened, ids) if token_id not in stops
        )
        + stream.finish()
    )
