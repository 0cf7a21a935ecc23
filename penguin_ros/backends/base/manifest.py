# SPDX-License-Identifier: Apache-2.0
"""What a bundle says about itself, as values, and how that stands in bundle.yaml. Knows no graph
and no inference library.

The contract between the builder (room export) and the runtimes. CONTRACT rises when a runtime could
not read an older bundle.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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


def to_plain(value: Any) -> Any:
    """Dataclasses and tuples as what YAML writes: mappings and lists."""
    if dataclasses.is_dataclass(value):
        return {
            item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def from_plain(kind: Any, value: Any, where: str = 'manifest') -> Any:
    """The inverse of `to_plain` for a type; ValueError names the place that does not fit."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is tuple:
        items = _typed(value, list, where)
        kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(items):
            raise ValueError(f'{where} takes {len(kinds)} values')
        return tuple(
            from_plain(one, item, f'{where}[{index}]')
            for index, (one, item) in enumerate(zip(kinds, items, strict=True))
        )
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {
            from_plain(inner[0], key, where): from_plain(inner[1], item, f'{where}.{key}')
            for key, item in _typed(value, dict, where).items()
        }
    if origin in (typing.Union, types.UnionType):
        return value if type(value) in inner else _refuse(where, value)
    if kind is float and type(value) is int:
        return float(value)
    return _typed(value, kind, where)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    given = _typed(value, dict, where)
    hints, fields = typing.get_type_hints(kind), {item.name for item in dataclasses.fields(kind)}
    unknown, missing = sorted(map(str, set(given) - fields)), sorted(fields - set(given))
    if unknown or missing:
        raise ValueError(
            f'{where} ' + ('has an unknown ' + unknown[0] if unknown else 'lacks ' + missing[0])
        )
    return kind(
        **{name: from_plain(hints[name], given[name], f'{where}.{name}') for name in fields}
    )


def _typed(value: Any, kind: type, where: str) -> Any:
    return value if type(value) is kind else _refuse(where, value)


def _refuse(where: str, value: Any) -> Any:
    raise ValueError(f'{where} = {str(value)[:80]!r}')
