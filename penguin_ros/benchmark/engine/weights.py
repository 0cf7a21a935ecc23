# SPDX-License-Identifier: Apache-2.0
"""How many bytes of weights a model has and a decoded token reads, told from the stored files.

Nothing is run for this.
"""

from __future__ import annotations

import math

from penguin_ros.backends.base.backend import BackendDescription
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.requests.loaded_model import BYTES_PER_NUMBER, Model

EMBEDDING, HEAD = 'llm.embed_tokens.weight', 'llm.lm_head.weight'
DECODER = 'decoder'
CUDA, NETWORK = 'cuda', 'network.bin'
ROTATION = 'llm.rotation'
"""The table of rotary positions, of which a token reads a row."""


def bytes_per_token(model: Model, opened: BackendDescription, variant: str) -> tuple[int, str]:
    """The bytes of weights that decoding one token reads, and in words where the number is from.

    `variant` is the form of the LLM's graph, where the model is a bundle. One row of the embedding
    table, a few kilobytes, is left out, and so is the KV cache.
    """
    if isinstance(model, Bundle) and opened.name == CUDA:
        return kernel_bytes(model), f"the LLM's matrices and gains in {NETWORK}"
    if isinstance(model, Bundle):
        words = f"files of weights of the LLM's graph ({variant}) in the manifest"
        return decoder_bytes(model, variant), words
    tensors = model.tensors
    skipped = HEAD if model.shape.is_tied else EMBEDDING
    numbers = sum(
        math.prod(tensors.shape(name))
        for name in tensors.names()
        if name.startswith('llm.') and name != skipped
    )
    size = numbers * BYTES_PER_NUMBER[opened.precision]
    return size, f"the LLM's parameters in {opened.precision}"


def decoder_bytes(bundle: Bundle, variant: str) -> int:
    """The bytes of the files of weights that one form of the LLM's graph needs."""
    return sum(bundle.manifest.files[name].bytes for name in bundle.graph(DECODER, variant).needs)


def kernel_bytes(bundle: Bundle) -> int:
    """The bytes that own kernels read of the LLM's weights."""
    from penguin_ros.backends.cuda.network_file import read_network_file

    tensors = read_network_file(bundle.path).tensors.items()
    return sum(
        tensor.byte_count
        for name, tensor in tensors
        if name.startswith('llm.') and name != ROTATION
    )


def decoder_variant_of(bundle: Bundle, backend: str) -> str:
    """The form of the LLM's graph that a backend runs on this machine; '' when it has none."""
    if backend == CUDA:
        return ''
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
    """The bytes of the TensorRT plans beside the graphs of a bundle; 0 when there are none."""
    from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest

    record = read_engine_manifest(bundle.path)
    return sum(engine.content.bytes for engine in record.engines) if record else 0
