# SPDX-License-Identifier: Apache-2.0
"""The step that encodes a frame with one layer of the encoder, in every form that the builder would
try for the whole of it, at several sizes of the frame.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.encoder_tables import merge_weights, rope_tables
from penguin_ros.backends.base.manifest import ENCODER
from penguin_ros.board.layer_bundle import layer_bundle
from penguin_ros.board.micro_engine import MicroGraph, measure
from penguin_ros.board.micro_step import Entry, as_float32, attempt, open_device, relative_error
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.export.tensorrt.candidates import Candidate, candidates, prepared
from penguin_ros.export.tensorrt.profiles import ProfileSizes

MERGE = 2
WEIGHTS = 'float16'


def run(order: StepOrder, note: Note) -> None:
    """Notes `forms`: by the builder's name of the form and by patches an entry, with the largest
    difference of the features from those of the last form, which is the plainest.
    """
    sizes, folder = order.sizes, Path(order.folder)
    bundle = layer_bundle(folder, sizes, WEIGHTS)
    forms: dict[str, dict[str, Entry]] = {}
    features: dict[tuple[str, int], np.ndarray] = {}
    with open_device() as device:

        def entry(candidate: Candidate, patches: int) -> Entry:
            graph = encoder_graph(bundle, candidate, patches)
            found = measure(graph, device, folder, sizes.repeats)
            features[str(candidate), patches] = as_float32(found.outputs['encoded'])
            return found.facts()

        for candidate in candidates(ENCODER, bundle.manifest):
            forms[str(candidate)] = {}
            for patches in sizes.patches:
                forms[str(candidate)][str(patches)] = attempt(
                    lambda candidate=candidate, patches=patches: entry(candidate, patches)  # type: ignore[misc]
                )
                note({'forms': forms})
    for (name, patches), values in features.items():
        plainest = [each for (_, count), each in features.items() if count == patches][-1]
        forms[name][str(patches)]['difference'] = relative_error(values, plainest)
    note({'forms': forms})


def encoder_graph(bundle: Bundle, candidate: Candidate, patches: int) -> MicroGraph:
    """Returns the graph of a candidate with a frame of `patches`, a square or two side by side."""
    rows, columns = grid(patches)
    made = prepared(bundle, candidate, ProfileSizes(MERGE**2, patches))
    shape = bundle.shape.encoder
    pixels = np.random.default_rng(0).standard_normal(
        (1, patches, bundle.shape.patch_values), np.float32
    )
    cosine, sine = rope_tables(rows, columns, MERGE, shape.head_dim, shape.rope_theta)
    values = {
        'pixel_patches': pixels,
        'rope_cos': cosine,
        'rope_sin': sine,
        'merge_weights': merge_weights(MERGE),
    }
    dimensions = {
        'frames': 1,
        'patches': patches,
        'merged': MERGE**2,
        'tokens': patches // MERGE**2,
    }
    return MicroGraph(made.model, made.path, dimensions, values, {}, made.profiles)


def grid(patches: int) -> tuple[int, int]:
    """Returns rows and columns, both even, of a frame with so many patches, as square as it
    goes.
    """
    rows = max(
        count for count in range(2, math.isqrt(patches) + 1, 2) if patches % (2 * count) == 0
    )
    return rows, patches // rows
