# SPDX-License-Identifier: Apache-2.0
"""The bytes that a model takes, by what its shape and the sizes it is built for say: weights, KV
slots, intermediate values, buffers; and what a build takes.

What follows from shapes is exact. Intermediate values are those that are alive at once when
attention is one kernel (fused) or is not; TensorRT may find more or less. What CUDA, TensorRT,
Python and ROS take is estimated from reports of others: none could be measured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the doctor imports this where numpy does not import
    from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape

MEGABYTE = 1_000_000
FLOAT_BYTES = {'float32': 4, 'float16': 2, 'bfloat16': 2}
RUNTIME_BYTES = 550 * MEGABYTE
"""CUDA's context, TensorRT's libraries, Python and numpy. An estimate."""

GRAPHS, GRAPH_BYTES = 16, 20 * MEGABYTE
"""Contexts that decoding keeps, each with its CUDA graph, and what one takes. An estimate."""

ROS_BYTES = 150 * MEGABYTE
"""The node, its transport and one camera's driver. An estimate."""

SCORE_BYTES = 4
"""A score of attention that is not one kernel is float32 around the softmax, before and after."""

FEATURE_POOL_BYTES = 64 * 1024 * 1024
"""Blocks for features that nobody uses and that are kept for the next frame."""

MAX_WANTED = 16
"""Positions whose logits one run gives at most."""

BUILD_BASE_BYTES = 1600 * MEGABYTE
"""What TensorRT's builder takes beside weights and activations, tactics of large matrices among
it; by a report on an Orin Nano.
"""

COPIES_OF_WEIGHTS, COPIES_FROM_10_13 = 3, 2
"""Weights while an engine is built: the parser's (twice before TensorRT 10.13, which copied what it
had read) and the engine's.
"""


@dataclass(frozen=True)
class ModelSizes:
    """What is fixed by a model and its formats: the bytes of weights by part, and of a number in
    the activations of each; `kernel_bytes`, what own kernels that decode beside engines have for
    themselves.
    """

    shape: CheckpointShape
    decoder_bytes: int
    encoder_bytes: int
    decoder_float: int = 2
    encoder_float: int = 2
    kernel_bytes: int = 0


@dataclass(frozen=True)
class RunSizes:
    """What a model is run with. `is_fused`: attention is one kernel; `is_in_place`: the engine
    writes into its cache. `scratch_bytes` is what the engines say that they need for intermediate
    values, 0 before they are there; `feature_bytes` and `camera_bytes` are the limits of the
    encoder cache and of the frames that one camera keeps.
    """

    slots: int
    max_length: int
    max_rows: int
    max_patches: int
    is_fused: bool = False
    is_in_place: bool = False
    scratch_bytes: int = 0
    feature_bytes: int = 2**27
    camera_bytes: int = 2**28


def slot_bytes(model: ModelSizes, max_length: int) -> int:
    """Returns the bytes of a KV slot."""
    llm = model.shape.llm
    return 2 * llm.layers * llm.kv_heads * llm.head_dim * model.decoder_float * max_length


def encoder_scratch(model: ModelSizes, patches: int, is_fused: bool) -> int:
    """Returns the bytes of intermediate values for one frame."""
    shape = model.shape.encoder
    rows = patches * _row_bytes(shape, model.encoder_float)
    return rows if is_fused else rows + 2 * shape.heads * patches * patches * SCORE_BYTES


def decoder_scratch(model: ModelSizes, run: RunSizes) -> int:
    """Returns the bytes of intermediate values for the largest prefill run, or for the logits."""
    shape = model.shape.llm
    rows = run.max_rows * _row_bytes(shape, model.decoder_float)
    rows += MAX_WANTED * model.shape.vocabulary_size * SCORE_BYTES
    columns = run.max_length + run.max_rows
    scores = 2 * shape.heads * run.max_rows * columns * SCORE_BYTES
    return rows if run.is_fused else rows + scores


def scratch(model: ModelSizes, run: RunSizes) -> int:
    """Returns the bytes that encoder and decoder share, since they never run at once."""
    return run.scratch_bytes or max(
        encoder_scratch(model, run.max_patches, run.is_fused), decoder_scratch(model, run)
    )


def buffer_bytes(model: ModelSizes, run: RunSizes) -> int:
    """Returns the bytes for the inputs and outputs of both engines: patches, positions, the mask,
    logits, and the new keys and values where the engine does not write them itself.
    """
    llm, encoder = model.shape.llm, model.shape.encoder
    frame = run.max_patches * (model.shape.patch_values + 2 * encoder.head_dim)
    mask = run.max_rows * (run.max_length + run.max_rows)
    logits = MAX_WANTED * model.shape.vocabulary_size * SCORE_BYTES
    new = 0 if run.is_in_place else slot_bytes(model, run.max_rows)
    rows = run.max_rows * llm.hidden_size * model.decoder_float
    return frame * model.encoder_float + mask + logits + rows + new


def build_bytes(weights: int, activations: int, is_lean: bool) -> int:
    """Returns the bytes that building an engine takes; `is_lean` is TensorRT 10.13 and later."""
    copies = COPIES_FROM_10_13 if is_lean else COPIES_OF_WEIGHTS
    return copies * weights + activations + BUILD_BASE_BYTES


def _row_bytes(shape: TransformerShape, width: int) -> int:
    """Returns the bytes alive at once for a row: the residual and its norm in float32, gate, up and
    their product, or queries, keys, values and the result of attention.
    """
    heads = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
    return 2 * 4 * shape.hidden_size + width * max(3 * shape.ffn_size, heads)
