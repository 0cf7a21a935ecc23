# SPDX-License-Identifier: Apache-2.0
"""What a setting is, and how settings are listed, checked and changed by name.

A configuration is a frozen dataclass of sections, each a frozen dataclass whose fields were made
with `setting`. The field `seconds` of the section `clip` is the setting `clip.seconds`. Which
settings there are stands in `config.py`; ROS parameters, command-line options and the tables in
`docs/` are all made from what this file says of them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from penguin_ros.errors import SettingError

Value = bool | int | float | str
_KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}

RENAMED_SETTINGS = {
    'model.reuse': 'model.prefix_caching',
    'model.feature_cache_bytes': 'model.encoder_cache_bytes',
    'clip.ahead': 'clip.precompute',
    'caption.max_pause': 'caption.max_preemption',
    'question.max_image_pixels': 'buffer.max_image_pixels',
}
"""Old names of settings, with the current ones. An old name still works in this version, and a
warning names the current one; see with_current_names.
"""


class Sections(Protocol):
    """Any dataclass whose fields are dataclasses of settings."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


Config = TypeVar('Config', bound=Sections)
T = TypeVar('T')


@dataclass(frozen=True)
class Setting:
    """The facts about one setting.

    `low` and `high` are inclusive; `choices` is empty when any text will do; `live` settings may
    change while the node is active.
    """

    text: str
    unit: str = ''
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False


def setting(
    default: Value,
    text: str,
    *,
    unit: str = '',
    span: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """Makes a dataclass field that carries its facts; see Setting. `span` is (low, high)."""
    low, high = span or (None, None)
    return field(
        default=default, metadata={'setting': Setting(text, unit, low, high, choices, live)}
    )


def live_setting(default: Value, text: str, **facts: Any) -> Any:
    """Makes the field of a setting that may change while the node is active."""
    return setting(default, text, live=True, **facts)


def settings(config: Sections) -> dict[str, tuple[Value, Setting]]:
    """Returns every setting by its dotted name, with its value in `config` and its facts."""
    return {
        f'{section.name}.{item.name}': (
            getattr(getattr(config, section.name), item.name),
            item.metadata['setting'],
        )
        for section in dataclasses.fields(config)
        for item in dataclasses.fields(getattr(config, section.name))
    }


def changed_values(before: Config, after: Config) -> dict[str, Value]:
    """Returns the settings whose values differ, by dotted name, with their values in `after`."""
    old = settings(before)
    return {name: value for name, (value, _) in settings(after).items() if value != old[name][0]}


def with_values(config: Config, values: Mapping[str, object]) -> Config:
    """Returns a copy of `config` with the given settings, which are named with their section.

    Either all of them apply or none does: SettingError names the first that is unknown, has the
    wrong type or is out of range. Settings that depend on each other are checked when all are set.
    """
    known = settings(config)
    sections: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        if name not in known:
            raise _unknown_setting(name, known)
        current, facts = known[name]
        section, _, key = name.partition('.')
        sections.setdefault(section, {})[key] = checked(name, value, type(current), facts)
    replaced = {
        section: dataclasses.replace(getattr(config, section), **items)
        for section, items in sections.items()
    }
    return dataclasses.replace(config, **replaced)


def with_current_names(
    values: Mapping[str, T], renamed: Mapping[str, str]
) -> tuple[dict[str, T], list[str]]:
    """Returns `values` under the settings' current names, and a warning for each old name.

    `renamed` gives the current name of each old one. When a setting is given under both of its
    names, the value under the current name counts.
    """
    current = {name: value for name, value in values.items() if name not in renamed}
    warnings = []
    for old in [name for name in values if name in renamed]:
        name = renamed[old]
        effect = 'it is given too, so the old name is ignored' if name in current else 'rename it'
        current.setdefault(name, values[old])
        warnings.append(f'the setting {old} is now called {name}: {effect}')
    return current, warnings


def checked(name: str, value: object, kind: type, facts: Setting) -> Value:
    """Returns `value` as a `kind`.

    Whole numbers may be given as int or float, whichever `kind` is. SettingError says which type,
    range or choice does not fit.
    """
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (bool, int, float, str)) or type(value) is not kind:
        raise SettingError(
            f'{name} = {value!r}', f'it takes {_KINDS[kind]}', f'Meaning: {facts.text}'
        )
    if isinstance(value, str):
        _check_text(name, value, facts)
    elif not isinstance(value, bool):
        _check_number(name, value, facts)
    return value


def _unknown_setting(name: str, known: Iterable[str]) -> SettingError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return SettingError(
        f'unknown setting {name}',
        '',
        f'Did you mean {near[0]}?' if near else 'docs/parameters.md lists them all',
    )


def _check_text(name: str, value: str, facts: Setting) -> None:
    if facts.choices and value not in facts.choices:
        raise SettingError(f'{name} = {value!r}', 'it takes one of ' + ', '.join(facts.choices))
    if '\0' in value:
        raise SettingError(f'{name} = {value!r}', 'it contains a NUL character')


def _check_number(name: str, value: float, facts: Setting) -> None:
    low, high = facts.low, facts.high
    if (
        not math.isfinite(value)
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        raise SettingError(f'{name} = {value}', f'it takes {low} to {high} {facts.unit}'.rstrip())
