# SPDX-License-Identifier: Apache-2.0
"""The step that times what stands behind the logits: the most probable token, its logit and the sum
that shows NaN.
"""

from __future__ import annotations

from pathlib import Path

from penguin_ros.board.micro_engine import measure
from penguin_ros.board.micro_step import open_device
from penguin_ros.board.product_graph import top_token
from penguin_ros.board.steps import Note, StepOrder


def run(order: StepOrder, note: Note) -> None:
    """Notes the facts of its engine."""
    folder = Path(order.folder)
    with open_device() as device:
        graph = top_token(folder, order.sizes.vocabulary)
        found = measure(graph, device, folder, order.sizes.repeats)
        right = int(graph.values['logits'].argmax())
        is_right = int(found.outputs['best_token'].reshape(-1)[0]) == right
        note({**found.facts(), 'vocabulary': order.sizes.vocabulary, 'is_right': is_right})
