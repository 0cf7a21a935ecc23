# SPDX-License-Identifier: Apache-2.0
"""What the scripted backend adds to the contract: scripts and the hook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.backend_kinds import CONFIG, frame, run_to_end, tokens

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import OutOfMemory
from penguin_ros.testing.random_checkpoint import write_random_checkpoint
from penguin_ros.testing.scripted_backend import Script, ScriptedBackend, ScriptedModel


def opened(**facts: object) -> ScriptedBackend:
    backend = ScriptedBackend(CONFIG, **facts)  # type: ignore[arg-type]
    backend.open()
    return backend


def greedy(backend: ScriptedBackend, prompt: np.ndarray, count: int) -> list[int]:
    """Returns `count` greedy tokens after a prompt."""
    slot, chosen = backend.new_slot(), [int(token_id) for token_id in prompt]
    for start in range(len(prompt), len(prompt) + count):
        ids = prompt if start == len(prompt) else np.array(chosen[-1:])
        chosen.append(int(backend.forward(slot, Chunk(ids), [-1])[0].argmax()))
    backend.free_slot(slot)
    return chosen[len(prompt) :]


@pytest.mark.parametrize('script', [[9, 8, 7, 2], [5, 5, 5, 2], [1, 2, 1, 3, 1, 2], [4]])
@pytest.mark.parametrize('prompt', [tokens(1, 12) + 20, np.array([20])])
def test_a_script_follows_any_prompt(script: list[int], prompt: np.ndarray) -> None:
    assert greedy(opened(script=script), prompt, len(script)) == script


def test_a_script_goes_on_from_a_fork_and_after_a_truncation() -> None:
    backend = opened(script=[9, 8, 7, 2])
    slot = backend.new_slot()
    backend.forward(slot, Chunk(np.array([30, 31, 9, 8, 7])))
    fork = backend.fork(slot, 4)
    assert backend.forward(slot, Chunk(np.array([2])), [0])[0].max() < 5
    backend.truncate(slot, 2)
    assert backend.forward(slot, Chunk(np.array([9])), [0])[0].argmax() == 8
    assert backend.forward(fork, Chunk(np.array([7])), [0])[0].argmax() == 2


def test_a_function_can_be_the_script() -> None:
    script: Script = lambda ids: len(ids) if len(ids) < 6 else None  # noqa: E731
    assert greedy(opened(script=script), np.array([90, 91, 92]), 3) == [3, 4, 5]


def test_without_a_script_the_prompt_decides() -> None:
    backend = opened()
    first, second = greedy(backend, tokens(1, 9), 6), greedy(backend, tokens(2, 9), 6)
    assert first == greedy(opened(), tokens(1, 9), 6)
    assert first != second and len(set(first)) > 1


def test_the_hook_sees_every_step_by_name() -> None:
    steps: list[str] = []
    backend = opened(on_step=steps.append)
    run_to_end(backend.encode([frame(1), frame(2)]))
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 9)))
    backend.forward(slot, Chunk(tokens(1, 9)), [-1])
    backend.forward(slot, Chunk(tokens(1, 1)), [0])
    backend.close()
    assert steps == ['open', 'encode', 'encode', 'prefill', 'prefill', 'decode', 'close']


def test_a_step_that_the_hook_makes_fail_changes_nothing() -> None:
    backend = opened()
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 4)))

    def fail(step: str) -> None:
        raise OutOfMemory(f'no memory for {step}')

    backend.on_step = fail
    with pytest.raises(OutOfMemory, match='prefill'):
        backend.forward(slot, Chunk(tokens(2, 4)))
    backend.on_step = lambda step: None
    assert backend.slot_length(slot) == 4
    other = backend.new_slot()
    expected = backend.forward(other, Chunk(np.concatenate((tokens(1, 4), tokens(2, 4)))), [-1])
    assert np.array_equal(backend.forward(slot, Chunk(tokens(2, 4)), [-1]), expected)


def test_it_can_play_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_random_checkpoint(tmp_path / 'checkpoint'))
    description = ScriptedBackend(CONFIG, ScriptedModel.of(checkpoint)).open()
    assert (
        description.model_name == checkpoint.name and description.model_digest == checkpoint.digest
    )
    assert description.vocabulary_size == checkpoint.shape.vocabulary_size
    assert description.hidden_size == checkpoint.shape.llm.hidden_size
