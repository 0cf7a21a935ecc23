# SPDX-License-Identifier: Apache-2.0
"""What a bundle must compute: features of a stored image, and logits while given tokens are fed.

ONNX Runtime computes it once on the bundle's own graphs and weights, where there is room for that;
it goes along in the bundle as GOLDEN. Its CPU computes what is stored as float16 in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Backend, Chunk
from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.base.manifest import TWO_PART
from penguin_ros.benchmark.stored_clip import QUESTION, stored_images
from penguin_ros.config import ModelConfig, VisualConfig
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.steps import run_to_end

GOLDEN = 'golden.npz'
IMAGE_TOKENS, FED_TOKENS, KEPT_LOGITS = 64, 64, 8
"""Visual tokens of the image; tokens fed after the prompt, one by one; steps whose logits are
kept.
"""

PREFILL = 256
Values = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Golden:
    """`features` (tokens, hidden size); `logits` (KEPT_LOGITS, vocabulary) of the first steps; of
    all steps the most probable token `best`, and the `margins` by which it won.
    """

    features: Values
    logits: Values
    best: NDArray[np.int64]
    margins: Values

    @property
    def is_finite(self) -> bool:
        """Whether there is neither NaN nor infinity in it."""
        return bool(
            np.isfinite(self.features).all()
            and np.isfinite(self.logits).all()
            and np.isfinite(self.margins).all()
        )


def write_golden(folder: Path) -> Path:
    """Computes with ONNX Runtime and writes it into the bundle; raises what that raises."""
    from penguin_ros.backends.onnxruntime.backend import OnnxBackend

    bundle = open_bundle(folder)
    config = ModelConfig(device='cpu', provider='cpu', kv_slots=1)
    backend = OnnxBackend(bundle, config, TWO_PART)
    backend.open()
    try:
        found = compute(backend, bundle)
    finally:
        backend.close()
    np.savez(
        folder / GOLDEN,
        features=found.features,
        logits=found.logits.astype(np.float16),
        best=found.best,
        margins=found.margins,
    )
    return folder / GOLDEN


def read_golden(folder: Path) -> Golden | None:
    """Reads it from a bundle; None when there is none."""
    if not (folder / GOLDEN).is_file():
        return None
    with np.load(folder / GOLDEN) as file:
        return Golden(
            file['features'], file['logits'].astype(np.float32), file['best'], file['margins']
        )


def compute(backend: Backend, bundle: Bundle) -> Golden:
    """Computes it on an open backend: the prompt in chunks, then one token at a time."""
    inputs = stored_inputs(bundle)
    features = run_to_end(backend.encode(inputs.frames))
    slot = backend.new_slot()
    try:
        *chunks, last = prompt_chunks(inputs, features, PREFILL)
        for chunk in chunks:
            backend.forward(slot, chunk)
        rows = [backend.forward(slot, last, (-1,))[0]]
        for token_id in fed_tokens(bundle, inputs):
            rows.append(backend.forward(slot, Chunk(np.array([token_id])), (-1,))[0])
    finally:
        backend.free_slot(slot)
    highest = np.stack([np.sort(row)[-2:] for row in rows])
    return Golden(
        np.concatenate([backend.read_features(item) for item in features]),
        np.stack(rows[:KEPT_LOGITS]),
        np.array([int(row.argmax()) for row in rows]),
        highest[:, 1] - highest[:, 0],
    )


def stored_inputs(bundle: Bundle) -> ModelInputs:
    """Returns the stored image with its question."""
    visual = VisualConfig(max_visual_tokens=IMAGE_TOKENS)
    preprocessor = Preprocessor(bundle.shape, bundle.tokenizer, visual)
    return preprocessor.images_inputs(stored_images(1), QUESTION)


def fed_tokens(bundle: Bundle, inputs: ModelInputs) -> NDArray[np.int64]:
    """Returns tokens to feed, the same everywhere, as many as a slot has room for."""
    room = bundle.manifest.max_length - len(inputs.prompt.token_ids)
    random = np.random.default_rng(0)
    return random.integers(0, bundle.shape.vocabulary_size, min(FED_TOKENS, room))
