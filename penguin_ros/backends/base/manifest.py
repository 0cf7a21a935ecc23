# SPDX-License-Identifier: Apache-2.0
"""What a bundle says about itself, as values, and how that stands in bundle.yaml. Knows no graph
and no inference library.

The contract between the builder (room export) and the runtimes. CONTRACT rises when a runtime could
not read an older bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penguin_ros.checkpoint.shapes import CheckpointShape

CONTRACT = 1
MANIFEST = 'bundle.yaml'


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph: `dtype` as numpy calls it (bfloat16 too); a dimension is a
    size or a name.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphSpec:
    """One ONNX file. `part` is decoder, vision or vision_stage; `variant` says which operators it
    is made of.

    `index` counts the stages of a part from 0. `needs` lists the weight files beside it.
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
    """Size and sha256 (hex) of a file, by which damage is found."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class TableSpec:
    """The token table: rows of `columns` numbers, `dtype` F32, F16 or BF16 as in safetensors."""

    file: str
    dtype: str
    rows: int
    columns: int


@dataclass(frozen=True)
class PrecisionSpec:
    """Number formats: `compute` of activations, cache and whatever else is not named; weights of
    the LLM's `linears`, of its `head`, of the `vision` encoder and projector. `exceptions`:
    matrices stored otherwise, by name, with format and why.
    """

    compute: str
    linears: str
    head: str
    vision: str
    block_size: int
    exceptions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """Everything in bundle.yaml.

    `model_name`, `model_digest` of the checkpoint; `backend` that the bundle was built for;
    `max_length` positions per KV slot; `parameters` by part; `versions` of the libraries that wrote
    it; `command` that builds it again.
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

    def graph(self, part: str, variant: str) -> GraphSpec | None:
        """The graph of a part that has one file, in this variant; None when the bundle has none."""
        return next(iter(self.stages(part, variant)), None)

    def stages(self, part: str, variant: str) -> tuple[GraphSpec, ...]:
        """The graphs of a part in the order in which they run."""
        found = [graph for graph in self.graphs if graph.part == part and graph.variant == variant]
        return tuple(sorted(found, key=lambda graph: graph.index))
