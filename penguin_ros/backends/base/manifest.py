# SPDX-License-Identifier: Apache-2.0
"""What a bundle says about itself, as values, and how that stands in bundle.yaml.

It is the contract between the builder (room export) and the runtimes. CONTRACT rises when a runtime
could not read an older bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penguin_ros.checkpoint.shapes import CheckpointShape

CONTRACT = 1
MANIFEST = 'bundle.yaml'
NETWORK = 'network.bin'
"""The weights of a bundle for the backend cuda, which has no graphs."""


DECODER, ENCODER, ENCODER_STAGE = 'decoder', 'vision', 'vision_stage'
"""The parts of a network, as bundles name their graphs."""

FULL, FIXED_LENGTH, TWO_PART = 'full', 'window', 'two_part'
"""The variants of the decoder, as bundles name them: the cache is updated in place and attention
sees all of it; or a cache of fixed length is updated in place and cut to the length of the mask; or
the cache is only read, and the caller copies the new keys and values.
"""

FUSED, PLAIN_HALF, PLAIN = 'fused', 'plain_half', 'plain'
"""The variants of the encoder: with attention and norm as operators; or made of plain operators,
with softmax in the format of activations, or in float32.
"""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph: `dtype` as numpy calls it (and bfloat16); a dimension is a
    size or a name.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphSpec:
    """One ONNX file of a `part` of the network; `variant` says which operators it is made of.

    `index` counts the stages of a part from 0, `needs` lists the weight files beside it, and
    `quantised` is the number of matrix products whose weights are int8 or int4.
    """

    part: str
    variant: str
    index: int
    file: str
    opset: int
    needs: tuple[str, ...]
    quantised: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class FileSpec:
    """The size and sha256 (hexadecimal) of a file, by which damage is found."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class TableSpec:
    """The embedding table: `rows` of `columns` numbers, `dtype` F32, F16 or BF16 as in
    safetensors.
    """

    file: str
    dtype: str
    rows: int
    columns: int


@dataclass(frozen=True)
class ScalingSpec:
    """By which powers of two a part of the network computes smaller numbers, so that float16 holds
    them, with the same result: what is added up from layer to layer by 2 ** -`residual`, the gated
    product inside each layer by 2 ** -`gated`.
    """

    residual: int = 0
    gated: int = 0


@dataclass(frozen=True)
class PrecisionSpec:
    """Number formats: `compute` is that of activations, cache and whatever else is not named;
    `linears` of the LLM's weights, `head` of its head, `vision` of encoder and projector.
    `exceptions` are matrices stored otherwise, by name, with their format and why; `scaling` is
    that of 'decoder' and 'vision' where numbers are scaled. `cache`: int8 where keys and values are
    narrower than `compute`.
    """

    compute: str
    linears: str
    head: str
    vision: str
    block_size: int
    exceptions: Mapping[str, str] = field(default_factory=dict)
    scaling: Mapping[str, ScalingSpec] = field(default_factory=dict)
    cache: str = ''

    @property
    def feature_scale(self) -> float:
        """By what projected features are to be multiplied to be those of the network as published:
        they are the decoder's inputs.
        """
        return 2.0 ** self.scaling.get(DECODER, ScalingSpec()).residual


@dataclass(frozen=True)
class Manifest:
    """Everything in bundle.yaml.

    `model_name` and `model_digest` are the checkpoint's; `backend` is what the bundle was built
    for, `max_length` the positions per KV slot, `parameters` their numbers by part ('language',
    'vision'), `versions` those of the libraries that wrote it, `command` what builds it again.
    `decode` is for TensorRT: kernels or both where own kernels decode, or may.
    """

    contract: int
    model_name: str
    model_digest: str
    backend: str
    max_length: int
    precision: PrecisionSpec
    shape: CheckpointShape
    table: TableSpec
    graphs: tuple[GraphSpec, ...]
    files: Mapping[str, FileSpec]
    parameters: Mapping[str, int]
    versions: Mapping[str, str]
    command: str
    decode: str = ''

    def graph(self, part: str, variant: str) -> GraphSpec | None:
        """Returns the graph of a part that has one file, in this variant; None when there is
        none.
        """
        return next(iter(self.stages(part, variant)), None)

    def stages(self, part: str, variant: str) -> tuple[GraphSpec, ...]:
        """Returns the graphs of a part in the order in which they run."""
        found = [graph for graph in self.graphs if graph.part == part and graph.variant == variant]
        return tuple(sorted(found, key=lambda graph: graph.index))

    @property
    def weight_bytes(self) -> int:
        """The bytes of all weights; what several forms of a graph share counts once."""
        names = {name for graph in self.graphs for name in graph.needs}
        if self.backend == 'cuda':
            names = {NETWORK}
        return sum(self.files[name].bytes for name in names)
