# SPDX-License-Identifier: Apache-2.0
"""What a configuration says of rotary positions, in whichever spelling: the base is read, and
everything that would scale the positions is refused, since only unscaled ones are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penguin_ros.checkpoint.json_file import JsonFile
from penguin_ros.errors import CheckpointConfigError

NESTED = ('rope_parameters', 'rope_scaling', 'rope_scaling_config', 'rope_config')
KINDS = ('rope_type', 'type', 'name')
BASES = ('rope_theta', 'rope_base', 'rotary_base', 'rotary_emb_base', 'rotary_embedding_base')
NEUTRAL: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(KINDS, ('default', 'none', '')),
    'factor': (1,),
    'rope_factor': (1,),
    'rope_ratio': (1,),
    'scaling_factor': (1,),
    'attention_factor': (1,),
    'partial_rotary_factor': (1,),
    'rotary_pct': (1,),
}
"""Values with which a key changes nothing."""

SCALING_KEYS = (
    'rope_factor',
    'rope_ratio',
    'partial_rotary_factor',
    'rotary_pct',
    'rope_interleaved',
)
"""Keys beside the others that change positions."""

FIX = 'Take a checkpoint without it: its results would differ here'


def read_rope_theta(config: JsonFile) -> float:
    """Returns the base of rotary positions; CheckpointConfigError where it is missing, where two
    places contradict each other, or where positions are scaled.
    """
    check_unscaled(config)
    found = list(_bases(config))
    if not found:
        return config.number('rope_theta')  # whose error says what is missing
    (first, theta), *others = found
    for where, other in others:
        if other != theta:
            raise CheckpointConfigError(
                f'{config.where}: {first} is {theta:g}, {where} is {other:g}',
                'both name the base of rotary positions, and only one can be meant',
                'Remove the one that is wrong; the published checkpoint tells which',
            )
    return theta


def check_unscaled(config: JsonFile) -> None:
    """Raises CheckpointConfigError where a configuration asks for scaled positions."""
    for key in NESTED:
        if config.has(key):
            _check(config.part(key), config, key)
    for key in SCALING_KEYS:
        value = config.values.get(key)
        if value is not None and value is not False and value not in NEUTRAL.get(key, ()):
            raise config.error(key, 'only unscaled rotary positions are computed')


def _check(part: JsonFile, config: JsonFile, key: str) -> None:
    for name, value in part.values.items():
        if value is None or name in BASES or name == 'original_max_position_embeddings':
            continue
        if isinstance(value, dict):  # by kind of layer
            _check(part.part(name), config, key)
        elif value not in NEUTRAL.get(name, ()):
            raise CheckpointConfigError(
                f'{config.where}: {key} asks for {name} = {str(value)[:40]!r}',
                'only unscaled rotary positions are computed',
                FIX,
            )


def _bases(config: JsonFile, where: str = '') -> Iterator[tuple[str, float]]:
    """Yields every place that names the base, with the base."""
    for key in BASES:
        if config.has(key):
            yield f'{where}{key}', config.number(key)
    for key, value in config.values.items():
        if isinstance(value, dict) and (key in NESTED or where):
            yield from _bases(config.part(key), f'{where}{key}, ')
