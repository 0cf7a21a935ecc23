# SPDX-License-Identifier: Apache-2.0
"""Runs the graphs of a bundle whose outputs show the largest magnitudes inside the network, on the
CPU, on one prompt.

Importing this file needs onnxruntime.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.encoder_tables import merge_weights, rope_tables
from penguin_ros.backends.base.manifest import DECODER, ENCODER, FUSED, TWO_PART
from penguin_ros.model_inputs import FramePatches, ModelInputs

CHUNK = 256
"""Positions of one run of the decoder."""

SHOWN = 'max_'
Maxima = dict[str, NDArray[np.float32]]
"""By kind of value: the largest magnitude of each place, in the order of the layers."""


def maxima_of(bundle: Bundle, inputs: ModelInputs) -> dict[str, Maxima]:
    """Returns the largest magnitudes by part, 'vision' and 'decoder', for the frames and the prompt
    of `inputs`, whose graphs were built to show them.
    """
    found: dict[str, Maxima] = {ENCODER: {}, DECODER: {}}
    session = _session(bundle, ENCODER, FUSED)
    embeds = [_encoded(bundle, session, frame, found[ENCODER]) for frame in inputs.frames]
    del session
    rows = bundle.embedding_table.read(inputs.prompt.token_ids)
    if embeds:
        rows[inputs.prompt.token_ids == inputs.image_token_id] = np.concatenate(embeds)
    _decode(bundle, _session(bundle, DECODER, TWO_PART), rows, found[DECODER])
    return found


def _encoded(bundle: Bundle, session: Any, frame: FramePatches, found: Maxima) -> NDArray[Any]:
    shape = bundle.shape.encoder
    cosine, sine = rope_tables(
        frame.rows, frame.columns, frame.merge_size, shape.head_dim, shape.rope_theta
    )
    results = _run(
        session,
        {
            'pixel_patches': frame.pixels[None],
            'rope_cos': cosine,
            'rope_sin': sine,
            'merge_weights': merge_weights(frame.merge_size),
        },
        found,
    )
    return np.asarray(results['image_embeds'][0])


def _decode(bundle: Bundle, session: Any, rows: NDArray[np.float32], found: Maxima) -> None:
    llm = bundle.shape.llm
    # One position that no row sees: some versions take no empty cache.
    cache = np.zeros((2 * llm.layers, llm.kv_heads, 1, llm.head_dim), np.float32)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        count, held = len(part), cache.shape[2]
        mask = np.ones((count, held + count), bool)
        mask[:, 0] = False
        mask[:, held:] = np.tri(count, dtype=bool)
        feed = {
            'inputs_embeds': part[None],
            'position_ids': np.arange(start, start + count)[None],
            'attention_mask': mask[None, None],
            'logits_indices': np.array([count - 1]),
        }
        for layer in range(llm.layers):
            feed[f'past_key_{layer}'] = cache[2 * layer][None]
            feed[f'past_value_{layer}'] = cache[2 * layer + 1][None]
        cache = np.concatenate((cache, _run(session, feed, found)['new_kv']), axis=2)


def _run(session: Any, feed: dict[str, Any], found: Maxima) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    results = dict(zip(names, session.run(names, feed), strict=True))
    for name, values in results.items():
        if name.startswith(SHOWN):
            kind = name.removeprefix(SHOWN)
            found[kind] = np.maximum(found.get(kind, np.zeros_like(values)), values)
    return results


def _session(bundle: Bundle, part: str, variant: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(bundle.file(bundle.graph(part, variant).file)),
        options,
        providers=['CPUExecutionProvider'],
    )
