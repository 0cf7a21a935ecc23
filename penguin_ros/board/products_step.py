# SPDX-License-Identifier: Apache-2.0
"""The step that multiplies by one matrix in each format: one of a layer at several numbers of rows,
and a part of the head at one.
"""

from __future__ import annotations

from pathlib import Path

from penguin_ros.board.micro_step import Entry, attempt, measured, open_device
from penguin_ros.board.product_graph import FORMS, WeightForm, product
from penguin_ros.board.steps import Note, StepOrder


def run(order: StepOrder, note: Note) -> None:
    """Notes `layer` and `head`: entries by form, and in `layer` by rows."""
    sizes, folder = order.sizes, Path(order.folder)
    with open_device() as device:

        def entry(form: WeightForm, size: tuple[int, int], rows: int) -> Entry:
            made = product(folder, form, size, rows)
            return measured(made.graph, device, folder, sizes.repeats, made.expected, 'y')

        layer: dict[str, dict[str, Entry]] = {}
        head: dict[str, Entry] = {}
        for form in FORMS:
            layer[form.name] = {}
            for rows in sizes.rows:
                layer[form.name][str(rows)] = attempt(
                    lambda form=form, rows=rows: entry(form, sizes.product, rows)  # type: ignore[misc]
                )
                note({'layer': layer, 'head': head})
            head[form.name] = attempt(lambda form=form: entry(form, sizes.head, 1))  # type: ignore[misc]
            note({'layer': layer, 'head': head})
