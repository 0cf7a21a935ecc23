# SPDX-License-Identifier: Apache-2.0
"""Which number format each part of a bundle gets, and what is refused. Knows names of formats, no weights."""
from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.errors import BuildRefused

BACKENDS = ('onnxruntime', 'tensorrt')
DEVICES = ('cpu', 'cuda')
FLOATS = ('float32', 'float16', 'bfloat16')
ROWWISE = 'w8a8'
"""int8 weights, and activations rounded to int8 with one scale per row: products of integers, a row depending on itself alone.
Faster in long prefills and in the encoder than int8, at a larger loss: there ONNX Runtime has a scale per block of a row."""

PRECISIONS = (*FLOATS, 'int8', 'int4', ROWWISE)
GPU_PRECISIONS = (*FLOATS, 'int8', 'int4')
VISION_PRECISIONS = (*FLOATS, 'int8', ROWWISE)
HEAD_PRECISIONS = (*FLOATS, 'int8', 'int4')
BLOCK_SIZES = (256, 128, 64, 32)
"""Inputs of a product that share a scale. Larger blocks are multiplied faster (ONNX Runtime, per core: 226 Gop/s at 256, 197 at
128, 147 at 64) at a larger loss."""

DEFAULT_BLOCK_SIZE = 128


@dataclass(frozen=True)
class BuildChoice:
    """What is asked for: `precision` of the LLM's linears; of `head` and `vision`, and of what is no weight (`compute`), empty
    for the default; `block_size` of int4 and int8 blocks, one of BLOCK_SIZES, where it divides."""

    backend: str = 'onnxruntime'
    precision: str = 'float32'
    device: str = 'cpu'
    head: str = ''
    vision: str = ''
    compute: str = ''
    block_size: int = DEFAULT_BLOCK_SIZE


@dataclass(frozen=True)
class PrecisionPlan:
    """Formats of weights by part, and `compute` of activations and cache; the encoder computes in `vision_compute`."""

    compute: str
    linears: str
    head: str
    vision: str
    vision_compute: str
    block_size: int = DEFAULT_BLOCK_SIZE


def plan_precision(choice: BuildChoice) -> PrecisionPlan:
    """BuildRefused names what does not go together and what does."""
    _check(choice)
    is_gpu = choice.backend == 'tensorrt' or choice.device == 'cuda'
    is_integer = choice.precision not in FLOATS
    compute = choice.compute or (('float16' if is_gpu else 'float32') if is_integer else choice.precision)
    _refuse_float('the LLM', choice.precision, compute)
    head = choice.head or ('int8' if is_integer else compute)
    vision = choice.vision or (_default_vision(choice.precision) if is_integer and not is_gpu else compute)
    _refuse_float('the head', head, compute)
    plan = PrecisionPlan(compute, choice.precision, head, vision, vision if vision in FLOATS else compute, choice.block_size)
    if 'bfloat16' in (plan.compute, plan.vision_compute) and not is_gpu:
        raise BuildRefused('bfloat16 does not run on the CPU with ONNX Runtime',
                           'its CPU provider has no bfloat16 MatMul, Add and Softmax',
                           'Take --precision float32, int8 or int4, or --device cuda')
    if ROWWISE in (plan.linears, plan.vision) and (is_gpu or plan.compute != 'float32'):
        raise BuildRefused(f'{ROWWISE} runs on the CPU with ONNX Runtime, in float32 otherwise',
                           'TensorRT has no scale per row of activations', 'Take int8 or int4')
    return plan


def _default_vision(precision: str) -> str:
    return ROWWISE if precision == ROWWISE else 'int8'


def _check(choice: BuildChoice) -> None:
    for what, value, known in (('backend', choice.backend, BACKENDS), ('device', choice.device, DEVICES),
                               ('precision', choice.precision, PRECISIONS),
                               ('precision of the head', choice.head, HEAD_PRECISIONS),
                               ('precision of the encoder', choice.vision, VISION_PRECISIONS),
                               ('precision of activations', choice.compute, FLOATS)):
        if value not in known and (value or what in ('backend', 'device', 'precision')):
            raise BuildRefused(f'{what} {value!r} is unknown', f'there are {", ".join(known)}')
    if choice.block_size not in BLOCK_SIZES:
        raise BuildRefused(f'blocks of {choice.block_size} are unknown', f'there are {", ".join(map(str, BLOCK_SIZES))}')


def _refuse_float(part: str, asked: str, compute: str) -> None:
    """A float format of one part of the decoder is that of all of it."""
    if asked in FLOATS and asked != compute:
        raise BuildRefused(f'{part} cannot be {asked}', f'the graph around it computes in {compute}',
                           f'Take {compute}, int8 or int4 for it')
