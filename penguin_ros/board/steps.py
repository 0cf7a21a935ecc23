# SPDX-License-Identifier: Apache-2.0
"""The steps of `penguin bench board` as data, in their order; the report is the last one.

A step is a file of this room with a function `run(order, note)`: it measures, hands over what it
knows by `note` as soon as it knows it, and raises what stops it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penguin_ros.board.sizes import BoardSizes

Note = Callable[[Mapping[str, Any]], None]
"""Takes facts as plain values; later ones of the same name replace earlier ones."""


@dataclass(frozen=True)
class Step:
    """`limit_s` is the time after which the step is ended, `needs` are the steps without which it
    makes no sense. With `has_bundle` it runs only where a bundle was given, with `has_other` where
    another one was.
    """

    name: str
    title: str
    limit_s: float
    needs: tuple[str, ...] = ()
    has_bundle: bool = False
    has_other: bool = False

    @property
    def module(self) -> str:
        """The module that is the step."""
        return f'penguin_ros.board.{self.name}_step'


@dataclass(frozen=True)
class StepOrder:
    """What a step is given: the folder of the bundle, '' without one; a folder to write in; the
    `facts` of the steps before it by their names; `against`, another bundle of the same model, and
    `max_length`, the positions that both have, 0 without it.
    """

    step: str
    bundle: str
    folder: str
    sizes: BoardSizes = BoardSizes()
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    against: str = ''
    max_length: int = 0


MINUTE = 60.0
STEPS = (
    Step('identity', 'what this board is', 1 * MINUTE),
    Step('cuda', 'calls of CUDA', 1 * MINUTE),
    Step('memory', 'how memory behaves', 5 * MINUTE, ('cuda',)),
    Step('tensorrt', 'TensorRT builds and runs one layer', 2 * MINUTE, ('cuda',)),
    Step('products', 'products of one matrix in each format', 20 * MINUTE, ('tensorrt',)),
    Step('decoder_layer', 'one layer of the LLM in each form', 15 * MINUTE, ('tensorrt',)),
    Step('encoder_layer', 'one layer of the encoder in each form', 15 * MINUTE, ('tensorrt',)),
    Step('top_token', 'choosing the most probable token', 5 * MINUTE, ('tensorrt',)),
    Step('build', 'the engines of the bundle', 180 * MINUTE, ('tensorrt',), has_bundle=True),
    Step('load', 'loading them', 10 * MINUTE, ('build',), has_bundle=True),
    Step('numbers', 'what they compute', 30 * MINUTE, ('load',), has_bundle=True),
    Step('speed', 'how fast they are', 20 * MINUTE, ('load',), has_bundle=True),
    Step('kernels', 'own kernels beside them', 10 * MINUTE, ('load',), has_bundle=True),
    Step('with_engines', 'an answer by the engines', 10 * MINUTE, ('load',), True, True),
    Step('with_kernels', 'an answer by own kernels', 10 * MINUTE, ('cuda',), True, True),
    Step('soak', 'how long that lasts', 10 * MINUTE, ('speed',), has_bundle=True),
)
