# SPDX-License-Identifier: Apache-2.0
"""Keeps numbers inside the range of float16 without changing what comes out.

What is added up from layer to layer is only ever read through norms that divide by its size, so all
of it may be a power of two smaller: embeddings, visual features, and what each layer adds, with the
epsilon of the norms smaller by its square. The gated product of a layer may be smaller when the
matrix after it makes up for that. A power of two changes no digit of a number, but where its format
ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.manifest import DECODER, ENCODER, ScalingSpec
from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.checkpoint.tensor_names import EMBEDDING, PATCH_EMBEDDING
from penguin_ros.export.graph import GATED, RESIDUAL

LARGEST = 65504.0 / 8
"""What the largest number that was measured becomes at most: an eighth of float16's range is left
for pictures and questions that nobody measured.
"""

STACKS = {DECODER: 'llm', ENCODER: 'encoder'}
"""The names of the stacks of layers in a checkpoint, by part of a bundle."""


@dataclass(frozen=True)
class Scaling:
    """The exponents of two by which tensors are multiplied, by their names, and by which the
    numbers between the layers of a stack are smaller, by its name.
    """

    tensors: Mapping[str, int] = field(default_factory=dict)
    residuals: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """Returns the exponent of a tensor."""
        return self.tensors.get(name, 0)

    def norm_eps(self, stack: str, eps: float) -> float:
        """Returns the epsilon of norms of the numbers between the layers of a stack."""
        return math.ldexp(eps, -2 * self.residuals.get(stack, 0))


NO_SCALING = Scaling()


def scaling_of(shape: CheckpointShape, specs: Mapping[str, ScalingSpec]) -> Scaling:
    """Returns what `specs`, by part of a bundle, mean for the tensors of a checkpoint."""
    decoder, encoder = (specs.get(part, ScalingSpec()) for part in (DECODER, ENCODER))
    tensors = {
        EMBEDDING: -decoder.residual,
        'projector.2.weight': -decoder.residual,
        'projector.2.bias': -decoder.residual,
        PATCH_EMBEDDING: -encoder.residual,
        'encoder.patch_embedding.bias': -encoder.residual,
    }
    for part, stack, spec in (
        (DECODER, shape.llm, decoder),
        (ENCODER, shape.encoder, encoder),
    ):
        for index in range(stack.layers):
            layer = f'{STACKS[part]}.layers.{index}.'
            tensors[layer + 'self_attn.o_proj.weight'] = -spec.residual
            tensors[layer + 'mlp.up_proj.weight'] = -spec.gated
            tensors[layer + 'mlp.down_proj.weight'] = spec.gated - spec.residual
    residuals = {STACKS[part]: spec.residual for part, spec in specs.items()}
    return Scaling({name: power for name, power in tensors.items() if power}, residuals)


def scaled(values: NDArray[np.float32], exponent: int) -> NDArray[np.float32]:
    """Returns values times 2 ** `exponent`; the same array when that is 1."""
    return np.ldexp(values, exponent) if exponent else values


def chosen_scaling(maxima: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, ScalingSpec]:
    """Returns the smallest powers of two that bring all measured maxima, by part and kind of value,
    to LARGEST; no part that needs none.
    """
    chosen = {
        part: ScalingSpec(_exponent(kinds[RESIDUAL]), _exponent(kinds[GATED]))
        for part, kinds in maxima.items()
    }
    return {part: spec for part, spec in chosen.items() if spec != ScalingSpec()}


def _exponent(maxima: Sequence[float]) -> int:
    return max(0, math.ceil(math.log2(max(max(maxima), 1.0) / LARGEST)))
