# SPDX-License-Identifier: Apache-2.0
"""The largest value behind each layer of the LLM, by an engine of the plainest form that gives all
of them out: which layer leaves the range of float16 first.

Importing this file needs tensorrt, cuda-bindings and onnx.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import DECODER, TWO_PART
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.tensorrt.library import SAFETENSORS
from penguin_ros.board.golden import stored_inputs
from penguin_ros.board.micro_engine import MicroGraph, measure
from penguin_ros.board.micro_step import as_float32
from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.export.graph import ELEMENT_TYPES
from penguin_ros.export.tensorrt.candidates import candidates, prepared
from penguin_ros.export.tensorrt.profiles import ProfileSizes

ROWS = 32
PAST = 16
"""Positions of the cache that the form must be given; all of them are masked."""

TENSORRT_NAMES = {'float16': 'HALF', 'bfloat16': 'BF16', 'float32': 'FLOAT'}


def layer_maxima(bundle: Bundle, device: CudaDevice, folder: Path) -> list[float | None]:
    """Returns the largest magnitude behind each layer for the text of the stored prompt, None where
    it is not finite.
    """
    precision = bundle.manifest.precision
    form = next(
        form for form in candidates(DECODER, bundle.manifest, TWO_PART) if form.variant == TWO_PART
    )
    made = prepared(bundle, form, ProfileSizes())
    names = _show_layers(made.model, precision.compute, bundle.shape.llm.hidden_size)
    ids = stored_inputs(bundle).prompt.token_ids
    ids = ids[ids != bundle.shape.image_token_id][:ROWS]
    rows = len(ids)
    kind = SAFETENSORS[TENSORRT_NAMES[precision.compute]]
    mask = np.zeros((1, 1, rows, PAST + rows), bool)
    mask[..., PAST:] = np.tri(rows, dtype=bool)
    values: dict[str, Any] = {
        'inputs_embeds': narrowed(kind, bundle.embedding_table.read(ids))[1][None],
        'position_ids': np.arange(rows)[None],
        'logits_indices': np.array([rows - 1]),
        'attention_mask': mask,
    }
    dimensions = {'rows': rows, 'length': PAST, 'wanted': 1, 'length_and_rows': PAST + rows}
    graph = MicroGraph(made.model, made.path, dimensions, values, {})
    outputs = measure(graph, device, folder, 1).outputs
    largest = [float(np.abs(as_float32(outputs[name])).max()) for name in names]
    return [value if np.isfinite(value) else None for value in largest]


def first_overflow(maxima: Sequence[float | None]) -> int | None:
    """Returns the number of the first layer whose values are not finite; None when all are."""
    return next((number for number, value in enumerate(maxima) if value is None), None)


def _show_layers(model: onnx.ModelProto, compute: str, hidden: int) -> list[str]:
    """Makes the last sum of each layer an output; returns their names in order."""
    last: dict[int, str] = {}
    for node in model.graph.node:
        found = re.match(r'layers\.(\d+)/', node.name)
        if found and node.op_type in ('Add', 'Sum'):
            last[int(found[1])] = node.output[0]
    for name in last.values():
        shape = (1, 'rows', hidden)
        value = helper.make_tensor_value_info(name, ELEMENT_TYPES[compute], shape)
        model.graph.output.append(value)
    return [last[number] for number in sorted(last)]
