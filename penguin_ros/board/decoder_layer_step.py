# SPDX-License-Identifier: Apache-2.0
"""The step that decodes one token with one layer of the LLM, in every form that the builder would
try for the whole of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import DECODER
from penguin_ros.board.choice import chosen_weights
from penguin_ros.board.layer_bundle import layer_bundle
from penguin_ros.board.micro_engine import Array, MicroGraph, measure
from penguin_ros.board.micro_step import Entry, as_float32, attempt, open_device, relative_error
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.export.tensorrt.candidates import Candidate, candidates, prepared
from penguin_ros.export.tensorrt.profiles import ProfileSizes

MAX_ROWS = 256


def run(order: StepOrder, note: Note) -> None:
    """Notes `forms`: an entry by the builder's name of the form, with the largest difference of the
    logits from those of the last form, which is the plainest.
    """
    sizes, folder = order.sizes, Path(order.folder)
    weights = chosen_weights(order.facts)
    bundle = layer_bundle(folder, sizes, weights)
    forms: dict[str, Entry] = {}
    logits: dict[str, np.ndarray] = {}
    with open_device() as device:

        def entry(candidate: Candidate) -> Entry:
            graph = decoder_graph(bundle, candidate, sizes.length)
            found = measure(graph, device, folder, sizes.repeats)
            logits[str(candidate)] = as_float32(found.outputs['logits'])
            return found.facts()

        for candidate in candidates(DECODER, bundle.manifest):
            forms[str(candidate)] = attempt(lambda candidate=candidate: entry(candidate))  # type: ignore[misc]
            forms[str(candidate)]['variant'] = candidate.variant
            note({'weights': weights, 'length': sizes.length, 'forms': forms})
    for name, values in logits.items():
        forms[name]['difference'] = relative_error(values, list(logits.values())[-1])
    note({'forms': forms})


def decoder_graph(bundle: Bundle, candidate: Candidate, length: int) -> MicroGraph:
    """Returns the graph of a candidate with the inputs of one token behind `length` - 1 others."""
    made = prepared(bundle, candidate, ProfileSizes(MAX_ROWS, MAX_ROWS))
    random = np.random.default_rng(0)
    hidden = bundle.shape.llm.hidden_size
    held = length - 1
    mask = np.ones((1, 1, 1, length + 1), bool)
    mask[..., held:-1] = False
    values: dict[str, Array] = {
        'inputs_embeds': random.standard_normal((1, 1, hidden), np.float32).astype(np.float16),
        'position_ids': np.array([[held]]),
        'logits_indices': np.array([0]),
        'attention_mask': mask,
    }
    names = [tensor.name for tensor in made.inputs]
    in_place = {}
    if 'write_indices' in names:
        values['write_indices'] = np.array([held])
        values['attention_mask'] = np.ones((1, 1, 1, length), bool)
        caches = [name.removeprefix('past_') for name in names if name.startswith('past_')]
        in_place = {f'present_{name}': f'past_{name}' for name in caches}
    dimensions = {'rows': 1, 'length': length, 'wanted': 1, 'length_and_rows': length + 1}
    return MicroGraph(made.model, made.path, dimensions, values, in_place, made.profiles)
