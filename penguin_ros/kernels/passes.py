# SPDX-License-Identifier: Apache-2.0
"""Which kernels a pass launches, one after another, and with what: names of weights, of buffers and
of numbers, which a loader turns into addresses.

Weights have the names of a bundle's `network.json`. Buffers are those of `buffers.py`; they are
zeroed once, when they are made. `pitch` is the number of positions of a slot, for the encoder the
number of patches that its cache has room for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from penguin_ros.kernels.network import Network
from penguin_ros.kernels.rows_set import FEW

Value = str | int


@dataclass(frozen=True)
class Launch:
    """A launch of the kernel that has this name in the set, with a value for each argument: the
    name of a buffer, of a weight or `pitch`, or the number of a layer.
    """

    kernel: str
    values: tuple[Value, ...]


def _matrix(name: str, bits: int) -> tuple[str, str]:
    """Returns words and scales; a matrix of 16 bits has none, and is given twice."""
    return f'{name}.words', f'{name}.{"words" if bits == 16 else "scales"}'


def one_row_pass(network: Network) -> list[Launch]:
    """Returns a step that writes the token in `tokens` at the position in `state`, and puts the
    best next one into `tokens` and among `chosen`, so that the same step can follow.
    """
    return [
        Launch('gather', ('tokens', 'llm.embedding', 'features', 'x')),
        *(launch for index in range(network.llm.layers) for launch in _one_layer(network, index)),
        *one_head_pass(network, 'x'),
    ]


def one_head_pass(network: Network, rows: str) -> list[Launch]:
    """Returns the head of the one row in the buffer `rows`: logits, and the choice; the launch
    after the first, which advances `state`, is for a step that goes on by itself.
    """
    head = _matrix('llm.lm_head.0', network.formats.head)
    winners = ('best', 'winners', 'checks')
    return [
        Launch('one.head', (rows, 'llm.norm.weight', *head, 'logits', *winners)),
        Launch('one.choose', ('state', *winners, 'tokens', 'chosen', 'chosen_logits')),
    ]


def _one_layer(network: Network, index: int) -> Iterator[Launch]:
    layer, bits = f'llm.layers.{index}.', network.formats.llm
    norm, ffn_norm = (
        f'{layer}{name}.weight' for name in ('input_layernorm', 'post_attention_layernorm')
    )
    qkv, output, gate_up, down = (
        _matrix(f'{layer}{name}', bits)
        for name in ('self_attn.qkv', 'self_attn.o_proj', 'mlp.gate_up', 'mlp.down_proj')
    )
    gains = tuple(f'{layer}self_attn.{name}_norm.weight' for name in 'qk')
    parts = ('parts', 'sums')
    yield Launch('one.qkv', ('x', norm, *qkv, 'qkv'))
    attend: tuple[Value, ...] = (
        'state',
        'qkv',
        *gains,
        'llm.rotation',
        'cache',
        'kv_scales',
        *parts,
        index,
        'pitch',
    )
    yield Launch('one.attend', attend)
    yield Launch('one.combine', (*parts, 'one.mixed'))
    yield Launch('one.output', ('one.mixed', *output, 'x'))
    yield Launch('one.gated', ('x', ffn_norm, *gate_up, 'one.gated'))
    yield Launch('one.down', ('one.gated', *down, 'x'))


def rows_pass(network: Network, rows: int, is_masked: bool) -> list[Launch]:
    """Returns a pass over `rows` rows, or as many fewer as `state` says, whose last hidden states
    are in `x` after it. With `is_masked` they see what `mask` says, else what stands before them.
    """
    name = 'few' if rows <= FEW else 'many'
    stack = RowsOfStack(network, name, 'llm', '', network.formats.llm)
    sight = 'attend_masked' if is_masked else 'attend'
    return [
        Launch('gather', ('tokens', 'llm.embedding', 'features', 'x')),
        *(
            launch
            for index in range(network.llm.layers)
            for launch in stack.layer(index, sight, 'llm.rotation', 'angles')
        ),
    ]


def few_heads_pass(network: Network) -> list[Launch]:
    """Returns the head of up to FEW rows of `x`, whose numbers stand in `wanted`; how many these
    are says `head_state`.
    """
    head = _matrix('llm.lm_head.0', network.formats.head)
    winners = ('best', 'winners', 'checks')
    return [
        Launch('pick', ('x', 'wanted', 'last')),
        Launch('few.norm', ('last', 'llm.norm.weight', 'last_normed')),
        Launch('few.head', ('head_state', 'last_normed', *head, 'logits', *winners)),
        Launch('few.choose', ('head_state', *winners, 'tokens', 'chosen', 'chosen_logits')),
    ]


def encoder_pass(network: Network, has_levels: bool) -> list[list[Launch]]:
    """Returns the encoder for one frame in steps: its patches, each of its layers, and the end,
    which is launched over as many rows as there are visual tokens, which `encoder.head_state` says.
    The patches are bytes in `levels`, with their `level_table`, or numbers.
    """
    stack = RowsOfStack(network, 'encoder', 'encoder', 'encoder.', network.formats.encoder)
    first, second = (_matrix(f'projector.{index}', network.formats.encoder) for index in (0, 2))
    patches = _matrix('encoder.patch_embedding', network.formats.encoder)
    source = (
        Launch('encoder.levels', ('levels', 'level_table', 'patches'))
        if has_levels
        else Launch('encoder.numbers', ('numbers', 'patches'))
    )
    state = 'encoder.state'
    merge = ('encoder.x', 'encoder.norm.weight', 'merge_weights', 'merged', 'merge_count')
    begin = (state, 'patches', *patches, 'encoder.patch_embedding.bias', 'encoder.x')
    end = [
        Launch('encoder.merge', merge),
        Launch(
            'encoder.project_0',
            ('encoder.head_state', 'merged', *first, 'projector.0.bias', 'projected'),
        ),
        Launch(
            'encoder.project_2',
            ('encoder.head_state', 'projected', *second, 'projector.2.bias', 'new_features'),
        ),
    ]
    layers = [
        list(stack.layer(index, 'attend', 'encoder.rope', 'row_numbers'))
        for index in range(network.encoder.layers)
    ]
    return [[source, Launch('encoder.patches', begin)], *layers, end]


@dataclass(frozen=True)
class RowsOfStack:
    """The launches of a stack of layers over several rows: kernels named `name`, weights named
    `weights`, buffers that begin with `prefix`.
    """

    network: Network
    name: str
    weights: str
    prefix: str
    bits: int

    def layer(self, index: int, sight: str, table: str, angles: str) -> Iterator[Launch]:
        """Yields one layer."""
        layer, own = f'{self.weights}.layers.{index}.', self._own
        number = index if self.name != 'encoder' else 0
        normed, mixed = own('normed'), own('mixed')
        yield self._launch('norm', own('x'), f'{layer}input_layernorm.weight', normed)
        yield self._product('qkv', normed, f'{layer}self_attn.qkv', own('qkv'))
        gains = tuple(f'{layer}self_attn.{name}_norm.weight' for name in 'qk')
        kept = tuple(map(own, ('queries', 'cache', 'kv_scales')))
        turn: tuple[Value, ...] = (own('qkv'), *gains, table, angles, *kept, number, 'pitch')
        yield self._launch('turn', own('state'), *turn)
        parts = (own('parts'), own('sums'))
        attend: tuple[Value, ...] = (*kept, own('mask'), mixed, *parts, number, 'pitch')
        yield self._launch(sight, own('state'), *attend)
        if self.name == 'few':
            yield self._launch('combine', *parts, mixed)
        yield self._product('output', mixed, f'{layer}self_attn.o_proj', own('x'))
        yield self._launch('norm', own('x'), f'{layer}post_attention_layernorm.weight', normed)
        gate_up = _matrix(f'{layer}mlp.gate_up', self.bits)
        yield self._launch('gated', own('state'), normed, *gate_up, own('gated'))
        yield self._product('down', own('gated'), f'{layer}mlp.down_proj', own('x'))

    def _own(self, buffer: str) -> str:
        return self.prefix + buffer

    def _launch(self, kernel: str, *values: Value) -> Launch:
        return Launch(f'{self.name}.{kernel}', values)

    def _product(self, kernel: str, x: str, matrix: str, y: str) -> Launch:
        # No bias: what stands for it is not read.
        words = _matrix(matrix, self.bits)
        return self._launch(kernel, self._own('state'), x, *words, 'llm.norm.weight', y)
