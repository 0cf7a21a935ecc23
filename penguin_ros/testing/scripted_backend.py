# SPDX-License-Identifier: Apache-2.0
"""A backend without a network, for tests of everything above the backend: numpy only,
deterministic, with the whole interface.

Its logits depend on every position that the slot holds, visual features included, so that a wrong
slot, length or offset shows. Its greedy answer can be scripted, and a hook sees every step. The
functions at the top make the reproducible numbers that stand in for a network's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    ENCODE_PATCHES,
    BackendDescription,
    Chunk,
    GreedyToken,
    Logits,
    greedy_tokens,
)
from penguin_ros.backends.base.slot_backend import (
    BRANCH_LOGITS,
    BRANCH_ROWS,
    Append,
    BranchLimits,
    SlotBackend,
    StagedFeatures,
)
from penguin_ros.backends.base.slots import slots_within
from penguin_ros.backends.base.token_tree import ROOT
from penguin_ros.config import ModelConfig
from penguin_ros.model_inputs import FramePatches

if TYPE_CHECKING:
    from penguin_ros.backends.base.bundle import Bundle
    from penguin_ros.checkpoint.checkpoint import Checkpoint


_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def next_state(state: int, content: int) -> int:
    """Returns the 64-bit state after one more position; it depends on every bit of both arguments
    (splitmix64).
    """
    mixed = ((state ^ content) + _GOLDEN) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * _FIRST) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * _SECOND) & _MASK
    return mixed ^ (mixed >> 31)


def row_content(row: NDArray[np.float32]) -> int:
    """Returns 64 bits that stand for one row of features."""
    return int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), 'little')


def state_logits(state: int, vocabulary_size: int) -> NDArray[np.float32]:
    """Returns (vocabulary_size,) float32 in -4 .. 4."""
    mixed = np.arange(1, vocabulary_size + 1, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(
        state
    )
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_FIRST)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_SECOND)
    unit = (mixed >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return unit * np.float32(8) - np.float32(4)


def frame_features(
    blocks: NDArray[np.float32], encoder_size: int, hidden_size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns features of (tokens, encoder_size) and (tokens, hidden_size), which are random but
    fixed projections of `blocks` (tokens, values of a block).
    """
    random = np.random.default_rng(2024)
    encoder: NDArray[np.float32] = random.standard_normal(
        (blocks.shape[1], encoder_size), dtype=np.float32
    )
    projector: NDArray[np.float32] = random.standard_normal(
        (encoder_size, hidden_size), dtype=np.float32
    )
    encoded: NDArray[np.float32] = blocks @ encoder
    projected: NDArray[np.float32] = encoded @ projector
    return encoded, projected


Script = Sequence[int] | Callable[[tuple[int, ...]], 'int | None']
"""The tokens that follow any prompt, or a function from all ids of a slot to the next id (None: the
one that the hash gives).
"""

_SCRIPTED_LOGIT = 40.0
_POSITION_BYTES = 16


@dataclass(frozen=True)
class ScriptedModel:
    """The sizes of the model that the backend pretends to run."""

    name: str = 'scripted'
    digest: str = '0' * 64
    vocabulary_size: int = 512
    hidden_size: int = 16
    encoder_size: int = 12
    patch_values: int = 588
    max_positions: int = 1 << 20

    @classmethod
    def of(cls, checkpoint: Checkpoint | Bundle) -> ScriptedModel:
        """Takes the sizes of a checkpoint or bundle, so that its tokenizer and stop tokens fit."""
        shape = checkpoint.shape
        return cls(
            checkpoint.name,
            checkpoint.digest,
            shape.vocabulary_size,
            shape.llm.hidden_size,
            shape.encoder.hidden_size,
            shape.channels * shape.patch_size**2,
            shape.max_positions,
        )


ScriptedFeatures = StagedFeatures[NDArray[np.float32]]


class ScriptedBackend(SlotBackend[object, ScriptedFeatures]):
    """Implements Backend without a network.

    `script` is the greedy continuation. A sequence continues wherever the ids of the slot end in
    its beginning (the longest match counts); after its last token the hash decides again, so let it
    end in a stop token. `on_step` is called before each step with 'open', 'encode' (a slice),
    'prefill', 'decode' (logits of every position asked), 'branches' (a pass over several) or
    'close'; it may wait, count, or raise what the step shall raise. Nothing has changed when it
    raises. Both may be replaced while the backend is open.
    """

    NAME = 'scripted'

    def __init__(
        self,
        config: ModelConfig | None = None,
        model: ScriptedModel | None = None,
        *,
        script: Script = (),
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._config = config or ModelConfig()
        self._model = model or ScriptedModel()
        super().__init__(self._model.patch_values)
        self.script = script
        self.on_step = on_step
        self._sequences: dict[int, list[tuple[int, int]]] = {}
        """By slot index: the token id and the state of each position."""

    def forward_greedy_each(
        self, slot: int, chunk: Chunk, logits_indices: Sequence[int]
    ) -> list[GreedyToken]:
        """See Backend; it goes through `forward`, so that a test replaces one method only."""
        return greedy_tokens(self.forward(slot, chunk, logits_indices))

    def held(self) -> dict[int, list[int]]:
        """Returns the token ids of the positions of each slot that is in use, for assertions."""
        return {
            slot: [
                token_id
                for token_id, _ in self._sequences.get(self._slots.index(slot), [])[
                    : self._slots.length(slot)
                ]
            ]
            for slot in self._slots.ids()
        }

    def _open(self) -> tuple[object, BackendDescription]:
        self.on_step('open')
        model = self._model
        length = min(self._config.max_length, model.max_positions)
        return object(), BackendDescription(
            name=self.NAME,
            device='cpu',
            precision='float32',
            model_name=model.name,
            model_digest=model.digest,
            hidden_size=model.hidden_size,
            vocabulary_size=model.vocabulary_size,
            max_length=length,
            slots=slots_within(self._config, length * _POSITION_BYTES),
            slot_bytes=length * _POSITION_BYTES,
            feature_bytes_per_token=4 * (model.hidden_size + model.encoder_size),
            way='scripted, without a network',
            greedy_steps=max(1, self._config.greedy_steps),
        )

    def _close(self, session: object) -> None:
        self._sequences = {}
        self.on_step('close')

    def _encode_frame(
        self, session: object, frame: FramePatches
    ) -> Generator[None, None, ScriptedFeatures]:
        for _ in range(0, len(frame.pixels), self._config.encode_patches or ENCODE_PATCHES):
            self.on_step('encode')
            yield
        return self._features_of(frame)

    def _features_of(self, frame: FramePatches) -> ScriptedFeatures:
        blocks = frame.pixels.reshape(frame.tokens, -1)
        return StagedFeatures(
            *frame_features(blocks, self._model.encoder_size, self._model.hidden_size)
        )

    def _read(self, session: object, features: ScriptedFeatures, stage: str) -> NDArray[np.float32]:
        return features.stages[stage].copy()

    def _append(self, session: object, append: Append) -> Logits:
        contents = self._contents(append.chunk)
        self.on_step('decode' if len(append.wanted) == len(contents) else 'prefill')
        sequence = self._sequences.get(append.index, [])[: append.past]
        for token_id, content in zip(append.chunk.token_ids.tolist(), contents, strict=True):
            sequence.append((token_id, next_state(sequence[-1][1] if sequence else 0, content)))
        self._sequences[append.index] = sequence
        rows = [
            self._logits_after(sequence[: append.past + position + 1]) for position in append.wanted
        ]
        return np.stack(rows) if rows else np.zeros((0, self._model.vocabulary_size), np.float32)

    def _branch_limits(self, session: object) -> BranchLimits:
        return BranchLimits(BRANCH_ROWS, BRANCH_LOGITS)

    def _append_branches(self, session: object, append: Append) -> Logits:
        assert append.layout is not None
        self.on_step('branches')
        held = self._sequences.get(append.index, [])[: append.past]
        paths: list[list[tuple[int, int]]] = []
        ids = append.chunk.token_ids.tolist()
        for token_id, parent in zip(ids, append.layout.parents.tolist(), strict=True):
            path = held if parent == ROOT else paths[parent]
            state = next_state(path[-1][1] if path else 0, token_id)
            paths.append([*path, (token_id, state)])
        rows = [self._logits_after(paths[row]) for row in append.wanted]
        return np.stack(rows) if rows else np.zeros((0, self._model.vocabulary_size), np.float32)

    def _copy(self, session: object, source: int, target: int, length: int) -> None:
        self._sequences[target] = self._sequences.get(source, [])[:length]

    def _contents(self, chunk: Chunk) -> list[int]:
        """Returns a number per position that stands for its token, or for its row of features."""
        contents = [int(token_id) for token_id in chunk.token_ids]
        for span in chunk.spans:
            rows = self._own(span.features).stages['projected']
            rows = rows[span.first : span.first + span.count]
            contents[span.offset : span.offset + span.count] = [row_content(row) for row in rows]
        return contents

    def _logits_after(self, sequence: list[tuple[int, int]]) -> NDArray[np.float32]:
        """Returns (vocabulary_size,) logits in -4 .. 4 from the state of the last position; a
        scripted token stands far above.
        """
        logits = state_logits(sequence[-1][1], self._model.vocabulary_size)
        token_id = self._scripted_after(tuple(token_id for token_id, _ in sequence))
        if token_id is not None:
            logits[token_id] = _SCRIPTED_LOGIT
        return logits

    def _scripted_after(self, ids: tuple[int, ...]) -> int | None:
        if callable(self.script):
            return self.script(ids)
        script = tuple(self.script)
        matched = next(
            count
            for count in range(min(len(script), len(ids)), -1, -1)
            if ids[len(ids) - count :] == script[:count]
        )
        return script[matched] if matched < len(script) else None


def answering(
    text: str | None = None, *, on_step: Callable[[str], None] = lambda step: None
) -> Callable[[ModelConfig, Checkpoint | Bundle], ScriptedBackend]:
    """Returns a backend factory for `Pipeline` and `penguin_node` whose model answers everything
    with `text`.

    Without a text, the words have no meaning and depend on the whole prompt. The tokenizer and all
    sizes are those of the checkpoint or bundle that the settings name.
    """

    def make(config: ModelConfig, model: Checkpoint | Bundle) -> ScriptedBackend:
        script: Script = ()
        if text is not None:
            script = [*model.tokenizer.encode_text(text), model.shape.stop_token_ids[0]]
        return ScriptedBackend(config, ScriptedModel.of(model), script=script, on_step=on_step)

    return make
