# SPDX-License-Identifier: Apache-2.0
"""Dataclasses as plain values, and back: the dictionaries, lists, numbers and texts that JSON and
YAML files hold.

What comes back is checked against the annotations of the dataclass, so that a damaged or mistyped
file is refused with the place that does not fit.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SHOWN_CHARACTERS = 80


class PlainValueError(ValueError):
    """A value does not fit its annotation; `what` names the place, `why` what belongs there."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f'{what}: {why}')
        self.what = what
        self.why = why


@dataclass(frozen=True)
class PlainFormat:
    """What a file may contain besides exactly what the dataclasses say.

    `has_defaults`: a missing field takes its default. `has_endless`: infinity is written as null.
    `choices`: the texts that a field is limited to, by 'Class.field'.
    """

    has_defaults: bool = False
    has_endless: bool = False
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


STRICT = PlainFormat()


def to_plain(value: Any, form: PlainFormat = STRICT) -> Any:
    """Returns dataclasses and mappings as dictionaries, and tuples as lists."""
    if dataclasses.is_dataclass(value):
        return {
            item.name: to_plain(getattr(value, item.name), form)
            for item in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: to_plain(item, form) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item, form) for item in value]
    return None if form.has_endless and value == math.inf else value


def from_plain(kind: Any, value: Any, where: str, form: PlainFormat = STRICT) -> Any:
    """Returns what `to_plain` made of a `kind`: a dataclass, or what its fields are annotated with.

    `where` is how the whole value is called; PlainValueError names the place in it that does not
    fit.
    """
    return _read(kind, value, where, form)


def _read(kind: Any, value: Any, where: str, form: PlainFormat) -> Any:
    origin = typing.get_origin(kind)
    inner = typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), value, where, form)
    if origin is tuple:
        return _read_tuple(inner, value, where, form)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {
            _read(inner[0], key, where, form): _read(inner[1], item, f'{where}.{key}', form)
            for key, item in _typed(dict, value, where).items()
        }
    if origin in (typing.Union, types.UnionType):
        if type(value) not in inner:
            raise _misfit(where, value, ' or '.join(one.__name__ for one in inner))
        return value
    if kind is float:
        return _read_float(value, where, form)
    return _typed(kind, value, where)


def _read_dataclass(kind: type, value: Any, where: str, form: PlainFormat) -> Any:
    hints = typing.get_type_hints(kind)
    if type(value) is not dict:
        raise _misfit(where, value, f'object with {", ".join(hints)}')
    for name in value:
        if name not in hints:
            raise PlainValueError(f'{where} has an unknown {name}', f'it has {", ".join(hints)}')
    for item in dataclasses.fields(kind):
        if item.name not in value and not (form.has_defaults and _has_default(item)):
            raise PlainValueError(f'{where} is incomplete', f'it lacks {item.name}')
    fields = {
        name: _read(hints[name], item, f'{where}.{name}', form) for name, item in value.items()
    }
    for name, item in fields.items():
        choices = form.choices.get(f'{kind.__name__}.{name}', ())
        if choices and item not in choices:
            raise PlainValueError(
                f'{where}.{name} = {_shown(item)}', 'it takes one of ' + ', '.join(choices)
            )
    return kind(**fields)


def _has_default(item: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return item.default is not missing or item.default_factory is not missing


def _read_tuple(inner: tuple[Any, ...], value: Any, where: str, form: PlainFormat) -> Any:
    items = _typed(list, value, where)
    kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else list(inner)
    if len(kinds) != len(items):
        raise _misfit(where, value, f'list of {len(kinds)}')
    return tuple(
        _read(one, item, f'{where}[{index}]', form)
        for index, (one, item) in enumerate(zip(kinds, items, strict=True))
    )


def _read_float(value: Any, where: str, form: PlainFormat) -> float:
    if form.has_endless and value is None:
        return math.inf
    if type(value) is int:
        return float(value)
    number: float = _typed(float, value, where)
    if math.isnan(number):
        raise _misfit(where, value, 'float')
    return number


def _typed(kind: type, value: Any, where: str) -> Any:
    if type(value) is not kind:
        raise _misfit(where, value, kind.__name__)
    return value


def _misfit(where: str, value: Any, what: str) -> PlainValueError:
    article = 'an' if what[0] in 'aeiou' else 'a'
    return PlainValueError(f'{where} = {_shown(value)}', f'it takes {article} {what}')


def _shown(value: Any) -> str:
    return repr(value)[:SHOWN_CHARACTERS]
