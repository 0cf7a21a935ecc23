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

from penguin_ros.backends.base.backend import Backend, BackendDescription, Chunk, Features, Logits
from penguin_ros.backends.base.input_checks import check_chunk, check_frames, logit_indices
from penguin_ros.backends.base.slots import SlotTable, slots_within
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError
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


class ScriptedFeatures(Features):
    """The features of one frame as numpy arrays; `session` identifies the opening of the backend
    in which they were made.
    """

    def __init__(
        self, session: object, encoded: NDArray[np.float32], projected: NDArray[np.float32]
    ) -> None:
        self.session = session
        self.encoded = encoded
        self.projected = projected
        self.tokens = len(projected)
        self.nbytes = encoded.nbytes + projected.nbytes


class ScriptedBackend(Backend):
    """Implements Backend without a network.

    `script` is the greedy continuation. A sequence continues wherever the ids of the slot end in
    its beginning (the longest match counts); after its last token the hash decides again, so let it
    end in a stop token. `on_step` is called before each step with 'open', 'encode' (a slice),
    'prefill', 'decode' (logits of every position asked) or 'close'; it may wait, count, or raise
    what the step shall raise. Nothing has changed when it raises. Both may be replaced while the
    backend is open.
    """

    def __init__(
        self,
        config: ModelConfig | None = None,
        model: ScriptedModel | None = None,
        *,
        script: Script = (),
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self.script = script
        self.on_step = on_step
        self._config = config or ModelConfig()
        self._model = model or ScriptedModel()
        self._description: BackendDescription | None = None
        self._session: object = None
        self._slots = SlotTable(0, 0)
        self._sequences: dict[int, list[tuple[int, int]]] = {}

    def open(self) -> BackendDescription:
        """Makes the slots; has no effect when the backend is open already."""
        if self._description is None:
            self.on_step('open')
            model, length = self._model, min(self._config.max_length, self._model.max_positions)
            self._session = object()
            slots = slots_within(self._config, length * _POSITION_BYTES)
            self._slots = SlotTable(slots, length)
            self._description = BackendDescription(
                'scripted',
                'cpu',
                'float32',
                model.name,
                model.digest,
                model.hidden_size,
                model.vocabulary_size,
                length,
                slots,
                length * _POSITION_BYTES,
                4 * (model.hidden_size + model.encoder_size),
            )
        return self._description

    def close(self) -> None:
        """Drops all slots; features of this session can no longer be used."""
        if self._description is not None:
            self._description = None
            self._session = None
            self._slots = SlotTable(0, 0)
            self._sequences = {}
            self.on_step('close')

    @property
    def description(self) -> BackendDescription:
        """See Backend."""
        self._opened()
        assert self._description is not None
        return self._description

    def encode(self, frames: Sequence[FramePatches]) -> Generator[None, None, list[Features]]:
        """See Backend; one slice per frame and `encode_patches` patches."""
        check_frames(frames, self._model.patch_values)
        return self._encode(frames, self._opened())

    def _encode(
        self, frames: Sequence[FramePatches], session: object
    ) -> Generator[None, None, list[Features]]:
        features: list[Features] = []
        for frame in frames:
            for _ in range(0, len(frame.pixels), self._config.encode_patches):
                if self._opened() is not session:
                    raise BackendError('this encode is dead', 'its backend was closed')
                self.on_step('encode')
                yield
            features.append(self._features_of(frame, session))
        return features

    def _features_of(self, frame: FramePatches, session: object) -> ScriptedFeatures:
        blocks = frame.pixels.reshape(frame.tokens, -1)
        encoded, projected = frame_features(
            blocks, self._model.encoder_size, self._model.hidden_size
        )
        return ScriptedFeatures(session, encoded, projected)

    def read_features(self, features: Features, stage: str = 'projected') -> NDArray[np.float32]:
        """See Backend; both stages are kept."""
        own = self._own(features)
        if stage not in ('projected', 'encoded'):
            raise BackendError(
                f'unknown stage {stage!r} of features', "there are 'projected' and 'encoded'"
            )
        return (own.projected if stage == 'projected' else own.encoded).copy()

    def new_slot(self) -> int:
        """See Backend."""
        self._opened()
        slot = self._slots.take()
        self._sequences[slot] = []
        return slot

    def free_slot(self, slot: int) -> None:
        """See Backend."""
        self._opened()
        self._slots.release(slot)
        del self._sequences[slot]

    def slot_length(self, slot: int) -> int:
        """See Backend."""
        self._opened()
        return self._slots.length(slot)

    def truncate(self, slot: int, length: int) -> None:
        """See Backend."""
        self._opened()
        self._slots.require_length(slot, length)
        self._slots.set_length(slot, length)
        del self._sequences[slot][length:]

    def fork(self, slot: int, length: int) -> int:
        """See Backend."""
        self._opened()
        self._slots.require_length(slot, length)
        copy = self._slots.take(length)
        self._sequences[copy] = self._sequences[slot][:length]
        return copy

    def forward(self, slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """See Backend."""
        check_chunk(chunk, self.description.vocabulary_size)
        wanted = logit_indices(logits_indices, len(chunk.token_ids))
        contents = self._contents(chunk)
        self._slots.require_room(slot, len(contents))
        self.on_step('decode' if len(wanted) == len(contents) else 'prefill')
        sequence, start = self._sequences[slot], self._slots.length(slot)
        for token_id, content in zip(chunk.token_ids.tolist(), contents, strict=True):
            sequence.append((token_id, next_state(sequence[-1][1] if sequence else 0, content)))
        self._slots.set_length(slot, len(sequence))
        rows = [self._logits_after(sequence[: start + position + 1]) for position in wanted]
        return np.stack(rows) if rows else np.zeros((0, self._model.vocabulary_size), np.float32)

    def _contents(self, chunk: Chunk) -> list[int]:
        """Returns a number per position that stands for its token, or for its row of features."""
        contents = [int(token_id) for token_id in chunk.token_ids]
        for span in chunk.spans:
            rows = self._own(span.features).projected[span.first : span.first + span.count]
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

    def _opened(self) -> object:
        """Returns the session; BackendError when the backend is not open."""
        if self._session is None:
            raise BackendError(
                'the scripted backend is not open',
                'it was closed, or never opened',
                'Call open first',
            )
        return self._session

    def _own(self, features: Features) -> ScriptedFeatures:
        session = self._opened()
        if not isinstance(features, ScriptedFeatures) or features.session is not session:
            raise BackendError(
                'these features cannot be used',
                'another backend made them, or theirs was closed',
                'Encode the frames again',
            )
        return features


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
