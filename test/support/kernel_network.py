# SPDX-License-Identifier: Apache-2.0
"""A small random network for the kernels: its weights in an interpreter's arena, and the same
network in numpy and float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.checkpoint.shapes import CheckpointShape, ProcessorShape, TransformerShape
from penguin_ros.kernels import reference
from penguin_ros.kernels.buffers import Room, decoder_buffers, encoder_buffers
from penguin_ros.kernels.interpreter import Interpreter
from penguin_ros.kernels.network import Formats, Network, StackSizes, network_of
from penguin_ros.kernels.one_row_set import one_row_kernels
from penguin_ros.kernels.packing import INPUTS, OUTPUTS, filled_up, pack, weights_of
from penguin_ros.kernels.passes import Launch
from penguin_ros.kernels.rows_set import encoder_kernels, few_rows_kernels, many_rows_kernels

DTYPES = {
    'fp32': 'f4',
    'fp16': 'f2',
    'bf16': 'u2',
    'i64': 'i8',
    'i32': 'i4',
    'u8': 'u1',
    'i8': 'i1',
}
ROOM = Room(rows=64, pitch=64, steps=4, patches=24, features=4)
SHAPE = CheckpointShape(
    llm=TransformerShape(2, 64, 96, 4, 2, 16, 1e4, 1e-6),
    encoder=TransformerShape(1, 48, 96, 4, 2, 16, 1e4, 1e-6),
    channels=3,
    patch_size=4,
    vocabulary_size=200,
    image_token_id=0,
    is_tied=True,
    stop_token_ids=(),
    max_positions=64,
    processor=ProcessorShape((0.5,) * 3, (0.5,) * 3, 1 / 255, 16, 64, 4, 1, 2, 1.0, 8),
)
Array = NDArray[Any]


def stored(values: Array, kind: str) -> Array:
    """Numbers as a kernel reads them; bfloat16 as its bits."""
    if kind != 'bf16':
        return np.asarray(values, DTYPES[kind])
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def numbers(values: Array, kind: str) -> Array:
    """What stored numbers are."""
    if kind != 'bf16':
        return values.astype(float)
    return (values.astype(np.uint32) << 16).view(np.float32).astype(float)


class SmallNetwork:
    """Weights and buffers by name, in the arena and as float64."""

    def __init__(self, interpreter: Interpreter, formats: Formats) -> None:
        self.network: Network = replace(network_of(SHAPE, formats), splits=4)
        self.compute = formats.compute
        self.weights: dict[str, Array] = {}
        self._interpreter = interpreter
        self._places: dict[str, tuple[int, str, int]] = {}
        self._draw = np.random.default_rng(0)
        made = (one_row_kernels, few_rows_kernels, many_rows_kernels, encoder_kernels)
        self.kernels = {each.name: each for make in made for each in make(self.network)}
        interpreter.clear()
        self._stack('llm', self.network.llm, formats.llm)
        self._stack('encoder', self.network.encoder, formats.encoder)
        self._ends()
        for buffer in (*decoder_buffers(self.network, ROOM), *encoder_buffers(self.network, ROOM)):
            self.place(buffer.name, np.zeros(buffer.count, DTYPES[buffer.kind]))
        self['row_numbers'] = np.arange(len(self['row_numbers']))
        cache = ROOM.pitch * self.network.llm.position_numbers
        self.place('cache', np.zeros(2 * cache, DTYPES[formats.kept]))
        self.place('kv_scales', np.zeros(2 * cache // self.network.llm.head_dim, np.float32))

    def place(self, name: str, values: Array) -> None:
        """Puts an array into the arena."""
        offset = self._interpreter.place(np.ascontiguousarray(values))
        self._places[name] = (offset, values.dtype.str, values.size)

    def __getitem__(self, name: str) -> Array:
        offset, dtype, size = self._places[name]
        return self._interpreter.view(offset, dtype, (size,))

    def __setitem__(self, name: str, values: Array | Sequence[float]) -> None:
        flat = np.asarray(values).reshape(-1)
        self[name][: len(flat)] = flat

    def run(self, launches: Sequence[Launch], rows: int = 1, **numbers: int) -> None:
        """Runs a pass over `rows` rows."""
        numbers = {'pitch': ROOM.pitch, 'merge_count': 4, **numbers}
        for launch in launches:
            kernel = self.kernels[launch.kernel]
            values = [
                value
                if isinstance(value, int)
                else numbers[value]
                if value in numbers
                else self._places[value][0]
                for value in launch.values
            ]
            self._interpreter.launch(kernel, kernel.grid.programs(rows), values)

    def _matrix(self, name: str, outputs: int, inputs: int, bits: int) -> None:
        values = self._draw.normal(0, inputs**-0.5, (outputs, inputs))
        if bits == 16:
            wide = np.zeros((filled_up(outputs, OUTPUTS), filled_up(inputs, INPUTS)))
            wide[:outputs, :inputs] = values
            kept = stored(wide, self.compute)
            self.place(f'{name}.words', kept)
            self.weights[name] = numbers(kept[:outputs, :inputs], self.compute)
            return
        largest = (1 << (bits - 1)) - 1
        blocks = -(-inputs // INPUTS)
        # A number that either format of 16 bits holds.
        scale = 2.0 ** np.rint(np.log2(3 * inputs**-0.5 / largest)) * 1.25
        scales = np.full((outputs, blocks), scale, np.float32)
        step = np.repeat(scales.astype(float), INPUTS, axis=1)[:, :inputs]
        rounded = np.clip(np.rint(values / step), -largest, largest).astype(np.int8)
        packed = pack(rounded, scales, bits)
        self.place(f'{name}.words', packed.words)
        self.place(f'{name}.scales', stored(packed.scales, self.compute))
        self.weights[name] = weights_of(packed)[:outputs, :inputs]

    def _pair(self, name: str, outputs: int, inputs: int, bits: int) -> None:
        """Places gate and up, each filled up, as one matrix."""
        self._matrix(name, 2 * filled_up(outputs, OUTPUTS), inputs, bits)
        gate, up = np.split(self.weights[name], 2)
        self.weights[name] = np.concatenate((gate[:outputs], up[:outputs]))

    def _gain(self, name: str, size: int, width: int) -> None:
        values = np.zeros(width, np.float32)
        values[:size] = self._draw.normal(1, 0.1, size)
        self.place(name, values)
        self.weights[name] = values[:size].astype(float)

    def _stack(self, prefix: str, stack: StackSizes, bits: int) -> None:
        shape = SHAPE.llm if prefix == 'llm' else SHAPE.encoder
        heads = (stack.heads + 2 * stack.kv_heads) * stack.head_dim
        for index in range(stack.layers):
            layer = f'{prefix}.layers.{index}.'
            for name in ('input_layernorm', 'post_attention_layernorm'):
                self._gain(f'{layer}{name}.weight', stack.size, stack.hidden)
            for name in 'qk':
                gain = f'{layer}self_attn.{name}_norm.weight'
                self._gain(gain, stack.head_dim, stack.head_dim)
            self._matrix(layer + 'self_attn.qkv', heads, stack.size, bits)
            width = stack.heads * stack.head_dim
            self._matrix(layer + 'self_attn.o_proj', stack.size, width, bits)
            self._pair(layer + 'mlp.gate_up', shape.ffn_size, stack.size, bits)
            self._matrix(layer + 'mlp.down_proj', stack.size, shape.ffn_size, bits)
        self._gain(f'{prefix}.norm.weight', stack.size, stack.hidden)

    def _ends(self) -> None:
        llm, encoder, formats = self.network.llm, self.network.encoder, self.network.formats
        self._matrix('llm.lm_head.0', SHAPE.vocabulary_size, llm.size, formats.head)
        table = np.zeros((SHAPE.vocabulary_size, llm.hidden))
        table[:, : llm.size] = self._draw.normal(size=(SHAPE.vocabulary_size, llm.size))
        kept = stored(table, formats.table)
        self.place('llm.embedding', kept)
        self.weights['llm.embedding'] = numbers(kept[:, : llm.size], formats.table)
        angles = np.outer(np.arange(ROOM.pitch), 1e4 ** -(np.arange(8) / 8))
        rope = np.concatenate((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
        self.place('llm.rotation', rope)
        self.weights['llm.rotation'] = rope.astype(float)
        bits = formats.encoder
        for name, outputs, inputs in (
            ('encoder.patch_embedding', encoder.size, SHAPE.patch_values),
            ('projector.0', llm.size, encoder.size),
            ('projector.2', llm.size, llm.size),
        ):
            self._matrix(name, outputs, inputs, bits)
            self._gain(f'{name}.bias', outputs, filled_up(outputs, OUTPUTS))


class NumpyNetwork:
    """The LLM of a small network in float64, with its cache."""

    def __init__(self, small: SmallNetwork) -> None:
        self._weights = small.weights
        self.keys: list[Array] = [np.zeros((2, 0, 16)) for _ in range(SHAPE.llm.layers)]
        self.values: list[Array] = [np.zeros((2, 0, 16)) for _ in range(SHAPE.llm.layers)]

    def append(self, x: Array, positions: Array, is_visible: Array) -> Array:
        """Appends rows (n, size) at rotary positions, which see what `is_visible` (n, length) says;
        returns their logits.
        """
        rope = self._weights['llm.rotation'][positions]
        cosine, sine = (np.tile(part, 2) for part in np.split(rope, 2, axis=1))
        for index in range(SHAPE.llm.layers):
            x = self._layer(index, x, cosine, sine, is_visible)
        weights = self._weights['llm.lm_head.0']
        return reference.norm_product(x, self._weights['llm.norm.weight'], weights, 1e-6)

    def _layer(self, index: int, x: Array, cosine: Array, sine: Array, is_visible: Array) -> Array:
        layer = f'llm.layers.{index}.'
        queries, keys, values = heads_of(self._weights, layer, x, cosine, sine)
        self.keys[index] = np.concatenate((self.keys[index], keys.transpose(1, 0, 2)), 1)
        self.values[index] = np.concatenate((self.values[index], values.transpose(1, 0, 2)), 1)
        mixed = reference.attend(queries, self.keys[index], self.values[index], is_visible)
        return finished(self._weights, layer, x, mixed)


def heads_of(
    weights: dict[str, Array], layer: str, x: Array, cosine: Array, sine: Array
) -> tuple[Array, Array, Array]:
    """Queries, keys and values (rows, heads, head_dim) of a layer of 4 and 2 heads."""
    norm, qkv = weights[layer + 'input_layernorm.weight'], weights[layer + 'self_attn.qkv']
    heads = reference.norm_product(x, norm, qkv, 1e-6).reshape(len(x), 8, 16)
    queries, keys = (
        reference.turned(part, weights[f'{layer}self_attn.{name}_norm.weight'], cosine, sine, 1e-6)
        for name, part in (('q', heads[:, :4]), ('k', heads[:, 4:6]))
    )
    return queries, keys, heads[:, 6:]


def finished(weights: dict[str, Array], layer: str, x: Array, mixed: Array) -> Array:
    """What a layer does after attention."""
    x = x + mixed @ weights[layer + 'self_attn.o_proj'].T
    norm, gate_up = (
        weights[layer + 'post_attention_layernorm.weight'],
        weights[layer + 'mlp.gate_up'],
    )
    return x + reference.gated_product(x, norm, gate_up, 1e-6) @ weights[layer + 'mlp.down_proj'].T
