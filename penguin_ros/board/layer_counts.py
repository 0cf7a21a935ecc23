# SPDX-License-Identifier: Apache-2.0
"""What the layers of a built engine say about it: whether attention became one kernel, and whether
weights are unpacked as a whole before they are multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

Layer = Mapping[str, Any]
ATTENTION = ('mha', 'flash')
"""Parts of the names of kernels that compute attention in one piece."""

FLOATS = ('FP32', 'FP16', 'BF16', 'FLOAT', 'HALF', 'BFLOAT')


@dataclass(frozen=True)
class LayerCounts:
    """`layer_count` is 0 where the library does not say. `attention` names kernels that compute
    attention in one piece; `unpacked` counts layers that give out a whole weight as floats.
    """

    layer_count: int
    attention: tuple[str, ...]
    unpacked: int


def layer_counts(layers: Sequence[Layer], weights: Set[tuple[int, ...]]) -> LayerCounts:
    """Counts in the layers of an engine whose weights of integers have these shapes."""
    kernels = {kernel for layer in layers for kernel in _kernels(layer) if _is_attention(kernel)}
    unpacked = sum(
        any(_is_weight(output, weights) for output in _tensors(layer, 'Outputs'))
        for layer in layers
    )
    return LayerCounts(len(layers), tuple(sorted(kernels))[:4], unpacked)


def _kernels(layer: Layer) -> list[str]:
    return [str(layer.get(name, '')) for name in ('TacticName', 'Name')]


def _is_attention(kernel: str) -> bool:
    return any(part in kernel.lower() for part in ATTENTION)


def _tensors(layer: Layer, name: str) -> list[Layer]:
    found = layer.get(name, ())
    return [item for item in found if isinstance(item, Mapping)]


def _is_weight(tensor: Layer, weights: Set[tuple[int, ...]]) -> bool:
    shape = tuple(size for size in tensor.get('Dimensions', ()) if size != 1)
    kind = str(tensor.get('Format/Datatype', tensor.get('Format', ''))).upper()
    is_float = any(name in kind for name in FLOATS)
    return is_float and (shape in weights or shape[::-1] in weights)
