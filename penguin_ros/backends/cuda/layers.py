# SPDX-License-Identifier: Apache-2.0
"""The layers of the LLM or of the encoder as kernels over several rows, and the memory between
them. Importing this file needs cuda-bindings.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.cuda.launcher import Launcher
from penguin_ros.backends.cuda.weights import DeviceWeights
from penguin_ros.kernels.network import StackSizes


@dataclass(frozen=True)
class Sight:
    """What the rows of a pass see, and where their keys and values lie: in `cache`, rows of `pitch`
    positions. `angles` are the rows of `table` by which heads turn. `mask` is 0 where there is
    none.
    """

    state: int
    angles: int
    table: int
    cache: int
    pitch: int
    mask: int = 0


class StackBuffers:
    """Memory for `rows` rows between the kernels of a layer: `qkv` in float32, the others 16 bits
    wide; `parts` and `sums` for what `split_rows` rows attend to in `splits` parts.
    """

    def __init__(
        self, device: CudaDevice, sizes: StackSizes, rows: int, split_rows: int, splits: int
    ) -> None:
        self.normed = zeroed(device, rows * sizes.hidden * 2)
        self.qkv = zeroed(device, rows * sizes.qkv * 4)
        self.queries = zeroed(device, rows * sizes.width * 2)
        self.mixed = zeroed(device, rows * sizes.width * 2)
        self.gated = zeroed(device, rows * sizes.ffn * 2)
        places = split_rows * sizes.heads * splits
        self.parts = zeroed(device, max(1, places) * sizes.head_dim * 4)
        self.sums = zeroed(device, max(1, places) * 2 * 4)


class LayerStack:
    """The layers `prefix`.layers.0 and so on."""

    def __init__(
        self, launch: Launcher, weights: DeviceWeights, prefix: str, buffers: StackBuffers
    ) -> None:
        self._launch = launch
        self._weights = weights
        self._prefix = prefix
        self.buffers = buffers

    def enqueue(
        self, kernels: str, index: int, place: int, x: int, rows: int, sight: Sight
    ) -> None:
        """Queues the layer `index` on `rows` rows of the residual stream at `x`, with the set
        `kernels`; its keys and values lie as the layer `place` of the cache.
        """
        launch, buffers, layer = self._launch, self.buffers, self.layer(index)
        self.norm(kernels, layer + 'input_layernorm.weight', x, rows)
        self._product(f'{kernels}.qkv', layer + 'self_attn.qkv', 'normed', buffers.qkv, rows, sight)
        launch(
            f'{kernels}.turn',
            rows,
            state=sight.state,
            qkv=buffers.qkv,
            q_gain=self._weights[layer + 'self_attn.q_norm.weight'],
            k_gain=self._weights[layer + 'self_attn.k_norm.weight'],
            table=sight.table,
            angles=sight.angles,
            queries=buffers.queries,
            cache=sight.cache,
            layer=place,
            pitch=sight.pitch,
        )
        self._attend(kernels, place, rows, sight)
        self._product(f'{kernels}.output', layer + 'self_attn.o_proj', 'mixed', x, rows, sight)
        self.norm(kernels, layer + 'post_attention_layernorm.weight', x, rows)
        words, scales = self.matrix(layer + 'mlp.gate_up')
        launch(
            f'{kernels}.gated',
            rows,
            state=sight.state,
            x=buffers.normed,
            weights=words,
            scales=scales,
            y=buffers.gated,
        )
        self._product(f'{kernels}.down', layer + 'mlp.down_proj', 'gated', x, rows, sight)

    def layer(self, index: int) -> str:
        """Returns what the names of a layer's weights begin with."""
        return f'{self._prefix}.layers.{index}.'

    def matrix(self, name: str) -> tuple[int, int]:
        """Returns the addresses of a matrix and of its scales, where it has none that of the matrix
        again.
        """
        words = self._weights[f'{name}.words']
        return words, self._weights.get(f'{name}.scales', words)

    def norm(self, kernels: str, gain: str, x: int, rows: int) -> None:
        """Queues the norm of rows, which come to lie in `normed`."""
        self._launch(f'{kernels}.norm', rows, x=x, gain=self._weights[gain], y=self.buffers.normed)

    def _product(
        self, kernel: str, name: str, source: str, y: int, rows: int, sight: Sight
    ) -> None:
        words, scales = self.matrix(name)
        x = getattr(self.buffers, source)
        self._launch(
            kernel, rows, state=sight.state, x=x, weights=words, scales=scales, bias=words, y=y
        )

    def _attend(self, kernels: str, place: int, rows: int, sight: Sight) -> None:
        buffers = self.buffers
        kernel = f'{kernels}.attend_masked' if sight.mask else f'{kernels}.attend'
        self._launch(
            kernel,
            rows,
            state=sight.state,
            queries=buffers.queries,
            cache=sight.cache,
            mask=sight.mask or sight.cache,
            mixed=buffers.mixed,
            parts=buffers.parts,
            sums=buffers.sums,
            layer=place,
            pitch=sight.pitch,
        )
        if self._launch.constant(kernel, 'SPLITS') > 1:
            parts, sums = buffers.parts, buffers.sums
            self._launch(f'{kernels}.combine', rows, parts=parts, sums=sums, mixed=buffers.mixed)


def zeroed(device: CudaDevice, byte_count: int) -> int:
    """Returns the address of new memory that is zero."""
    address = device.allocate(byte_count)
    device.zero(address, byte_count)
    return address
