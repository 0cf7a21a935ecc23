# SPDX-License-Identifier: Apache-2.0
"""How many bytes of weights a model has and a decoded token reads, from what is stored of it. Runs
nothing.
"""

from __future__ import annotations

import math

from penguin_ros.backends.base.backend import BackendDescription
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import Manifest
from penguin_ros.requests.loaded_model import BYTES_PER_NUMBER, Model

EMBEDDING, HEAD = 'llm.embed_tokens.weight', 'llm.lm_head.weight'
DECODER = 'decoder'


def bytes_per_token(model: Model, opened: BackendDescription, variant: str) -> tuple[int, str]:
    """Weights that decoding one token reads, and where the number is from. `variant` of the LLM's
    graph, when it is a bundle.

    One row of the token table, a few kilobytes, is left out; so is the KV cache.
    """
    if isinstance(model, Bundle):
        size = sum(model.manifest.files[name].bytes for name in model.graph(DECODER, variant).needs)
        return size, f"files of weights of the LLM's graph ({variant}) in the manifest"
    tensors = model.tensors
    skipped = HEAD if model.shape.is_tied else EMBEDDING
    numbers = sum(
        math.prod(tensors.shape(name))
        for name in tensors.names()
        if name.startswith('llm.') and name != skipped
    )
    return numbers * BYTES_PER_NUMBER[
        opened.precision
    ], f"the LLM's parameters in {opened.precision}"


def stored_bytes(manifest: Manifest) -> int:
    """All weights of a bundle, those of several forms of a graph once."""
    return sum(
        manifest.files[name].bytes
        for name in {name for graph in manifest.graphs for name in graph.needs}
    )


def decoder_variant_of(bundle: Bundle, backend: str) -> str:
    """Which form of the LLM's graph a backend runs here."""
    if backend == 'tensorrt':
        from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest

        record = read_engine_manifest(bundle.path)
        engine = record.engine(DECODER) if record else None
        return engine.variant if engine else ''
    if bundle.manifest.backend == 'tensorrt':
        return 'two_part'
    from penguin_ros.backends.onnxruntime.library import decoder_variant, load_library

    return decoder_variant(load_library())


def plan_bytes(bundle: Bundle) -> int:
    """The TensorRT plans beside a bundle's graphs; 0 when there are none."""
    from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest

    record = read_engine_manifest(bundle.path)
    return sum(engine.content.bytes for engine in record.engines) if record else 0
