# SPDX-License-Identifier: Apache-2.0
"""The arrays that two targets are compared by, in a file: features, logits under the same tokens,
and tokens.

The first target to run writes its own greedy tokens. The other one is fed the same tokens, so that
its logits stand beside those of the first at every step, whatever it would have said itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Chunk, Features
from penguin_ros.benchmark.engine.model import Opened
from penguin_ros.benchmark.engine.tasks import EngineTask
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.model_inputs import ModelInputs


@dataclass(frozen=True, eq=False)
class AnswerArrays:
    """What one target computed about the stored input.

    `digest` is that of its checkpoint. `features` (visual tokens, hidden size) are those of all
    frames in order; `frame_tokens` has the number of tokens of each. `logits` (steps, vocabulary)
    were computed after the prompt and after each of the `fed` tokens. `greedy` are the target's own
    tokens up to its stop token.
    """

    digest: str
    frame_tokens: NDArray[np.int64]
    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    fed: NDArray[np.int64]
    greedy: NDArray[np.int64]


def write_answer(
    task: EngineTask,
    opened: Opened,
    slot: int,
    inputs: ModelInputs,
    features: Sequence[Features],
    greedy: Sequence[int],
) -> None:
    """Feeds tokens into `slot`, which holds the prompt but for its last position, and writes the
    arrays to the file of the task.

    The tokens are those of the task's teacher. They are the target's own when there is no teacher,
    or when the teacher is another model, which the comparison will refuse.
    """
    digest = opened.model.digest
    fed = list(greedy)
    if task.teacher and (teacher := read_answer(task.teacher)).digest == digest:
        fed = teacher.fed.tolist()
    last = list(prompt_chunks(inputs, features, 1))[-1]
    rows = [opened.backend.forward(slot, last, (-1,))[0]]
    for token_id in fed[:-1]:
        rows.append(opened.backend.forward(slot, Chunk(np.array([token_id], np.int64)), (-1,))[0])
    np.savez(
        task.arrays,
        digest=np.array(digest),
        frame_tokens=np.array([item.tokens for item in features], np.int64),
        features=np.concatenate([opened.backend.read_features(item) for item in features]),
        logits=np.stack(rows),
        fed=np.array(fed, np.int64),
        greedy=np.array(greedy, np.int64),
    )


def read_answer(path: str | Path) -> AnswerArrays:
    """Reads what `write_answer` wrote."""
    with np.load(path) as file:
        return AnswerArrays(
            str(file['digest']),
            file['frame_tokens'],
            file['features'],
            file['logits'],
            file['fed'],
            file['greedy'],
        )
