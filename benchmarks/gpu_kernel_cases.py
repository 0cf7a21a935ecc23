# SPDX-License-Identifier: Apache-2.0
"""One launch of each kernel of a network with random contents: what it computes, compared with
numpy in float64, and for those that read weights how fast they read them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

from support.fake_gpu.kernel_arguments import NUMBER, TYPES
from support.fake_gpu.memory import FakeGpu
from support.fake_gpu.numpy_kernels import run_in_numpy

from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.kernels.network import Network
from penguin_ros.kernels.table import Kernel

POSITION, LENGTH = 40, 96
WRITTEN = ('y', 'parts', 'sums', 'mixed', 'queries', 'cache', 'x', 'logits', 'best', 'checks')
COLD_BYTES = 256 * 1024 * 1024
"""Weights are read in turn from so many bytes at least, more than any card's L2 cache holds."""


@dataclass(frozen=True)
class Case:
    """A launch over `rows` rows: arrays by the name of a pointer, numbers by name."""

    kernel: Kernel
    rows: int
    arrays: Mapping[str, np.ndarray]
    numbers: Mapping[str, int]


def case_of(kernel: Kernel, network: Network, draw: np.random.Generator) -> Case:
    """Returns a launch with random contents."""
    part = kernel.name.partition('.')[0]
    rows = {'one': 1, 'few': 16, 'many': 64, 'encoder': 64}.get(part, 16)
    stack = network.encoder if part == 'encoder' else network.llm
    maker = _Maker(kernel, network, stack, rows, draw)
    arrays = {
        each.name: maker.array(each.name, each.kind[1:])
        for each in kernel.arguments
        if each.is_pointer
    }
    numbers = {'layer': 1, 'pitch': LENGTH, 'merged': 4}
    names = {each.name for each in kernel.arguments if not each.is_pointer}
    given = {name: value for name, value in numbers.items() if name in names}
    return Case(kernel, 4 if kernel.name == 'encoder.merge' else rows, arrays, given)


class _Maker:
    """Random contents for the arguments of a kernel."""

    def __init__(
        self, kernel: Kernel, network: Network, stack: Any, rows: int, draw: np.random.Generator
    ) -> None:
        self._c = kernel.constants
        self._kernel = kernel
        self._network = network
        self._stack = stack
        self._rows = rows
        self._draw = draw

    def array(self, name: str, kind: str) -> np.ndarray:
        """Returns what a pointer points to."""
        shape = self._shape(name)
        if name == 'state':
            past = 0 if self._c.get('SIGHT') == 'all' or self._c.get('IS_GRID') else POSITION
            state = np.zeros(8, np.int64)
            state[[0, 1, 4]] = past, self._rows, self._rows
            return state
        if name in ('tokens', 'wanted', 'angles', 'winners'):
            most = self._network.vocabulary_size if name in ('tokens', 'winners') else self._rows
            return self._draw.integers(0, most, shape).astype(np.int32)
        if kind in ('i32', 'u8', 'i8'):
            bits = np.iinfo(TYPES[kind])
            return self._draw.integers(bits.min, bits.max, shape, TYPES[kind], True)
        return self._numbers(name, kind, shape)

    def _numbers(self, name: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
        values = self._draw.standard_normal(shape, np.float32)
        if name == 'weights':
            values *= 0.02
        if name in ('scales', 'kv_scales'):
            values = np.abs(values) * 0.01
        if name in ('gain', 'q_gain', 'k_gain'):
            values = 1 + 0.1 * values
        if name in ('y', 'checks'):
            values[...] = 0
        if kind == 'bf16':
            return narrowed('BF16', values)[1]
        return values.astype(TYPES[kind])

    def _shape(self, name: str) -> tuple[int, ...]:
        c, stack, network, rows = self._c, self._stack, self._network, self._rows
        source = self._kernel.source.rpartition('.')[2]
        if name in ('x', 'y', 'weights', 'scales'):
            return self._of_product(name, source)
        heads, ffn = stack.heads * stack.head_dim, stack.qkv
        splits = int(c.get('SPLITS', 1))
        programs = int(c.get('COUNT', 0)) or self._kernel.grid.programs(rows)[1 if rows > 1 else 0]
        shapes: dict[str, tuple[int, ...]] = {
            'state': (8,),
            'gain': (stack.hidden,),
            'q_gain': (stack.head_dim,),
            'k_gain': (stack.head_dim,),
            'bias': (max(stack.hidden, network.llm.hidden, ffn),),
            'qkv': (rows, stack.qkv),
            'table': self._table(source),
            'angles': (rows,),
            'cache': (2 * 2 * stack.kv_heads * LENGTH * stack.head_dim,),
            'kv_scales': (2 * 2 * stack.kv_heads * LENGTH,),
            'queries': (rows, stack.width),
            'mixed': (rows, stack.width),
            'mask': (rows, -(-LENGTH // 32)),
            'parts': (rows, stack.heads, splits, stack.head_dim),
            'sums': (rows, stack.heads, splits, 2),
            'tokens': (rows,),
            'wanted': (rows,),
            'features': (rows, network.llm.hidden),
            'levels': (rows, network.patch_values),
            'numbers': (rows, network.patch_values),
            'shares': (4,),
            'logits': (rows, network.vocabulary_size),
            'best': (rows, programs),
            'winners': (rows, programs),
            'checks': (rows, programs),
            'chosen': (rows,),
            'chosen_logits': (rows,),
        }
        assert heads
        return shapes[name]

    def _table(self, source: str) -> tuple[int, ...]:
        if source == 'gather':
            return self._network.vocabulary_size, self._network.llm.hidden
        if source == 'levels_to_rows':
            return 3, 256
        return LENGTH, self._stack.head_dim * (2 if self._c.get('IS_GRID') else 1)

    def _of_product(self, name: str, source: str) -> tuple[int, ...]:
        c, rows, stack = self._c, self._rows, self._stack
        inputs = int(c.get('K', c.get('WIDTH', 0)))
        outputs = self._outputs(source)
        if name == 'x':
            return rows, inputs if 'K' in c else int(c['WIDTH'])
        if name == 'y':
            wide = c.get('N', c.get('FFN', outputs)) if source != 'gated_product' else outputs
            return rows, int(wide or stack.hidden)
        matrix = outputs + int(c['FFN']) if source in ('gated_product', 'gated_rows') else outputs
        if name in ('scales', 'kv_scales'):
            return matrix, inputs // int(c.get('BLOCK', 128))
        bits = int(c['BITS'])
        return matrix, inputs if bits == 16 else inputs * bits // 32

    def _outputs(self, source: str) -> int:
        grid, c = self._kernel.grid, self._c
        if source in ('norm_product', 'add_product', 'gated_product'):
            return grid.x * int(c['OUTPUTS'])
        if source == 'head':
            return grid.x * int(c['OUTPUTS']) * int(c['TILES'])
        if 'OUTPUTS' in c:
            return grid.y * int(c['OUTPUTS'])
        return int(c.get('WIDTH', 0))


def in_float64(case: Case) -> dict[str, np.ndarray]:
    """Returns what numpy makes of all arrays, which are stored as the kernel stores them."""
    gpu, NUMBER[0] = FakeGpu(), np.float64
    places = {}
    for name, values in case.arrays.items():
        place = gpu.allocate(max(16, values.nbytes))
        assert place is not None
        gpu.write(place, values)
        places[name] = place
    given = [{**places, **case.numbers}[each.name] for each in case.kernel.arguments]
    try:
        run_in_numpy(gpu, case.kernel, case.kernel.grid.programs(case.rows), tuple(given))
    finally:
        NUMBER[0] = np.float32
    return {
        name: gpu.view(places[name], values.nbytes).view(values.dtype).reshape(values.shape).copy()
        for name, values in case.arrays.items()
    }


def errors(case: Case, got: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> float:
    """Returns the largest relative error of what was written; infinity where integers differ."""
    worst = 0.0
    for name, values in case.arrays.items():
        if np.array_equal(exact[name], values) and np.array_equal(got[name], values):
            continue
        if name in ('winners', 'chosen', 'tokens'):
            worst = worst if np.array_equal(got[name], exact[name]) else math.inf
            continue
        kind = next(each.kind[1:] for each in case.kernel.arguments if each.name == name)
        ours, theirs = (_wide(kind, each[name]) for each in (got, exact))
        known = np.isfinite(theirs) & np.isfinite(ours)
        norm = float(np.linalg.norm(theirs[known])) or 1.0
        worst = max(worst, float(np.linalg.norm(ours[known] - theirs[known])) / norm)
    return worst


def _wide(kind: str, values: np.ndarray) -> np.ndarray:
    return widened('BF16' if kind == 'bf16' else '', values).astype(np.float64)


class DeviceCase:
    """A case whose arrays lie on a device; the weights in so many copies that no cache holds
    them.
    """

    def __init__(self, device: Any, launch: Callable[..., None], case: Case, copies: int) -> None:
        self._device = device
        self._launch = launch
        self._case = case
        self._places = {name: self._put(values) for name, values in case.arrays.items()}
        self._copies = [
            {name: self._put(case.arrays[name]) for name in ('weights', 'scales')}
            for _ in range(copies)
        ]

    def run(self) -> None:
        """Queues the launch once."""
        self._queue({})

    def run_all(self) -> None:
        """Queues it once for each copy of the weights."""
        for copy in self._copies:
            self._queue(copy)

    def read(self) -> dict[str, np.ndarray]:
        """Returns all arrays as they are on the device."""
        found = {}
        for name, values in self._case.arrays.items():
            buffer = self._device.allocate_host(max(16, values.nbytes))
            self._device.copy(buffer.address, self._places[name], max(16, values.nbytes))
            self._device.synchronize()
            found[name] = buffer.view(values.dtype, values.shape).copy()
            self._device.free(buffer.host_address)
        return found

    def free(self) -> None:
        """Gives all memory back."""
        for place in (*self._places.values(), *(a for copy in self._copies for a in copy.values())):
            self._device.free(place)

    def _queue(self, weights: Mapping[str, int]) -> None:
        case = self._case
        self._launch(case.kernel.name, case.rows, **{**self._places, **weights, **case.numbers})

    def _put(self, values: np.ndarray) -> int:
        size = max(16, values.nbytes)
        address: int = self._device.allocate(size)
        buffer = self._device.allocate_host(size)
        buffer.bytes[: values.nbytes] = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        self._device.copy(address, buffer.address, size)
        self._device.synchronize()
        self._device.free(buffer.host_address)
        return address


def weight_bytes(case: Case) -> int:
    """Returns the bytes of weights that a launch reads."""
    if 'weights' not in case.arrays:
        return 0
    scales = 0 if case.kernel.constants['BITS'] == 16 else case.arrays['scales'].nbytes
    return case.arrays['weights'].nbytes + scales
