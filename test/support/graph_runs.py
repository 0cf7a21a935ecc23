# SPDX-License-Identifier: Apache-2.0
"""Runs the graphs of a bundle in ONNX Runtime in the simplest way, and makes checkpoints of any
shape to build them from.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from support.needed_packages import onnx, onnxruntime

from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.base.encoder_tables import merge_weights, rope_tables
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.precision import BuildChoice
from penguin_ros.model_inputs import FramePatches
from penguin_ros.testing.random_checkpoint import SHAPES, Variant, write_random_checkpoint

Array = np.ndarray
VARIANTS = {'full': 'onnxruntime', 'window': 'tensorrt', 'two_part': 'onnxruntime'}
"""The variants of decoders, and a backend whose bundles have them."""


def checkpoint_of(
    folder: Path, layout: str = 'nested', dtype: str = 'float32', seed: int = 0, **changes: Any
) -> Checkpoint:
    """Writes a random checkpoint of the tiny shape with `changes`."""
    variant = Variant(is_tied=changes.get('is_tied'))
    with patch.dict(SHAPES, {'other': dataclasses.replace(SHAPES['tiny'], **changes)}):
        return open_checkpoint(
            write_random_checkpoint(folder, 'other', seed, layout, dtype, variant)
        )


def stack(
    heads: int, kv_heads: int, head_dim: int, hidden: int = 64, ffn: int = 96, layers: int = 2
) -> TransformerShape:
    """Returns the shape of a stack of layers."""
    return TransformerShape(layers, hidden, ffn, heads, kv_heads, head_dim, 1e6, 1e-6)


def built(
    checkpoint: Checkpoint,
    folder: Path,
    backend: str = 'onnxruntime',
    precision: str = 'float32',
    max_length: int = 256,
    **choice: str,
) -> Bundle:
    """Builds a bundle and opens it."""
    order = BuildOrder(BuildChoice(backend, precision, **choice), max_length, threads=1)
    return open_bundle(build_bundle(checkpoint, folder, order))


def session(bundle: Bundle, file: str, is_plain: bool = False, **entries: str) -> Any:
    """Opens one graph on one thread; with `is_plain` it runs operator by operator as it is written,
    and nothing is fused.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if is_plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for key, value in entries.items():
        options.add_session_config_entry('session.' + key, value)
    return onnxruntime.InferenceSession(
        str(bundle.file(file)), options, providers=['CPUExecutionProvider']
    )


def optimised(bundle: Bundle, file: str, folder: Path) -> Counter[str]:
    """Returns how many nodes of each kind ONNX Runtime runs after its own rewriting."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(folder / 'optimised.onnx')
    onnxruntime.InferenceSession(
        str(bundle.file(file)), options, providers=['CPUExecutionProvider']
    )
    model = onnx.load(folder / 'optimised.onnx', load_external_data=False)
    return Counter(node.op_type for node in model.graph.node)


def distance(got: Array, expected: Array) -> float:
    """Returns ||got - expected|| / ||expected||."""
    assert got.shape == expected.shape
    return float(
        np.linalg.norm(got.astype(np.float64) - expected)
        / np.linalg.norm(expected.astype(np.float64))
    )


def patches(seed: int, rows: int, columns: int, merge_size: int) -> FramePatches:
    """Returns a frame with random pixels."""
    pixels = np.random.default_rng(seed).uniform(-1, 1, (rows * columns, 588)).astype(np.float32)
    return FramePatches(pixels, rows, columns, merge_size)


class Vision:
    """Encoder and projector of a bundle; frames of one grid go in together."""

    def __init__(self, bundle: Bundle, variant: str = 'fused', **entries: Any) -> None:
        self._shape = bundle.shape.encoder
        self._whole = session(bundle, bundle.graph('vision', variant).file, **entries)
        self._stages = [
            session(bundle, stage.file, **entries)
            for stage in bundle.manifest.stages('vision_stage', variant)
        ]
        self._formats = {
            item.name: np.dtype(item.dtype)
            for graph in bundle.manifest.graphs
            if graph.part.startswith('vision')
            for item in graph.inputs
        }

    def whole(self, frames: list[FramePatches]) -> tuple[Array, Array]:
        """Returns (frames, tokens, size) encoded, and projected."""
        pixels, tables, shares = self._inputs(frames)
        encoded, embeds = self._run(
            self._whole, pixel_patches=pixels, merge_weights=shares, **tables
        )
        return encoded, embeds

    def in_stages(self, frames: list[FramePatches], block: int) -> tuple[Array, Array]:
        """Returns the same from the stages, `block` rows at a time."""
        pixels, tables, shares = self._inputs(frames)
        state: list[Array] = [pixels]
        for index, stage in enumerate(self._stages):
            results = []
            for first in range(0, pixels.shape[1], block):
                rows = slice(first, first + block)
                feed = {name: table[rows] for name, table in tables.items()}
                feed = {'merge_weights': shares} if index == len(self._stages) - 1 else feed
                if index:
                    feed |= {
                        'hidden': state[0][:, rows],
                        'queries': state[1][:, :, rows],
                        'keys': state[2],
                        'values': state[3],
                    }
                else:
                    feed['pixel_patches'] = pixels[:, rows]
                results.append(self._run(stage, **feed))
            state = [
                np.concatenate(parts, axis=1 if parts[0].ndim == 3 else 2)
                for parts in zip(*results, strict=True)
            ]
        return state[0], state[1]

    def _inputs(self, frames: list[FramePatches]) -> tuple[Array, dict[str, Array], Array]:
        one = frames[0]
        cosine, sine = rope_tables(
            one.rows, one.columns, one.merge_size, self._shape.head_dim, self._shape.rope_theta
        )
        pixels = np.stack([frame.pixels for frame in frames])
        return pixels, {'rope_cos': cosine, 'rope_sin': sine}, merge_weights(one.merge_size)

    def _run(self, session: Any, **feed: Array) -> list[Array]:
        return session.run(
            None,
            {
                name: np.ascontiguousarray(values, self._formats[name])
                for name, values in feed.items()
            },
        )


class Decoder:
    """The LLM of a bundle with one cache, in the variant asked for."""

    def __init__(self, bundle: Bundle, variant: str, **entries: Any) -> None:
        graph = bundle.graph('decoder', variant)
        self._bundle, self._variant, self._session = (
            bundle,
            variant,
            session(bundle, graph.file, **entries),
        )
        self._names = [item.name for item in graph.outputs]
        self._format = np.dtype(
            next(item.dtype for item in graph.inputs if item.name == 'inputs_embeds')
        )
        llm = bundle.shape.llm
        self.cache = np.zeros(
            (2 * llm.layers, llm.kv_heads, bundle.manifest.max_length, llm.head_dim), self._format
        )
        self.position = 0

    def embed(self, token_ids: Array) -> Array:
        """Returns embeddings (n, hidden)."""
        return self._bundle.embedding_table.read(token_ids)

    def append(self, embeds: Array, wanted: list[int] | None = None, length: int = 0) -> Array:
        """Appends rows (n, hidden); returns logits (wanted, vocabulary), of all rows when None.
        `length`: of the cache that is shown, the shortest possible when 0.
        """
        rows = len(embeds)
        wanted = list(range(rows)) if wanted is None else wanted
        shortest = self.position + (0 if self._variant == 'two_part' else rows)
        feed = self._state(rows, max(length, shortest))
        feed |= {
            'inputs_embeds': embeds[None].astype(self._format),
            'logits_indices': np.array(wanted, np.int64),
            'position_ids': np.arange(self.position, self.position + rows)[None],
        }
        results = dict(zip(self._names, self._session.run(None, feed), strict=True))
        self._keep(results, rows)
        self.position += rows
        return results['logits'][0]

    def _state(self, rows: int, length: int) -> dict[str, Array]:
        own = self.position + np.arange(rows)[:, None]
        if self._variant == 'two_part':
            past = np.broadcast_to(np.arange(length) < self.position, (rows, length))
            feed = {
                'attention_mask': np.concatenate([past, np.tril(np.ones((rows, rows), bool))], 1)[
                    None, None
                ]
            }
        else:
            feed = {
                'attention_mask': (np.arange(length) <= own)[None, None],
                'write_indices': np.array([self.position]),
            }
        held = self.cache if self._variant == 'window' else self.cache[:, :, :length]
        for index in range(len(held) // 2):
            feed[f'past_key_{index}'] = np.ascontiguousarray(held[2 * index][None])
            feed[f'past_value_{index}'] = np.ascontiguousarray(held[2 * index + 1][None])
        return feed

    def _keep(self, results: dict[str, Array], rows: int) -> None:
        if self._variant == 'two_part':
            self.cache[:, :, self.position : self.position + rows] = results['new_kv']
            return
        for index in range(len(self.cache) // 2):
            for offset, kind in enumerate(('key', 'value')):
                present = results[f'present_{kind}_{index}'][0]
                self.cache[2 * index + offset][:, : present.shape[1]] = present
