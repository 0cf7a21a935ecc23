# SPDX-License-Identifier: Apache-2.0
"""What rclpy, launch and the message packages offer in each distribution of ROS 2, as far as this
package may come to use it: the facts of distribution_api.json.

The file was made by reading the sources of the released versions that it names. Its `names` are
modules, classes, functions, methods, attributes and constants by their full names. A name's value
is its parameters, those of the constructor for a class, or '' for what is not called. Where
distributions differ, a value for each stands under their names, and those without it are left out.
Of several releases of one distribution only that is told which all of them have. `types` are the
classes of what methods return and attributes hold.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

DISTRIBUTIONS = ('humble', 'jazzy', 'kilted', 'lyrical', 'rolling')
_FILE = Path(__file__).with_suffix('.json')


@lru_cache(maxsize=1)
def _facts() -> dict[str, Any]:
    return dict(json.loads(_FILE.read_text(encoding='utf-8')))


def names() -> list[str]:
    """Returns all names of the table."""
    return list(_facts()['names'])


def is_known(name: str) -> bool:
    """Returns whether the table has the name, whichever distributions have it."""
    return name in _facts()['names']


def type_of(name: str) -> str:
    """Returns the class of what a method returns or an attribute holds; '' when that is not
    known.
    """
    return str(_facts()['types'].get(name, ''))


def parameters(name: str, distribution: str) -> list[str] | None:
    """Returns the parameters of a name, in order, with `*` before those that only a keyword gives;
    None where the distribution does not have it, [] when it is not called or takes none.
    """
    found = _facts()['names'][name]
    if isinstance(found, dict):
        found = next((text for key, text in found.items() if distribution in key.split()), None)
    return None if found is None else [part for part in found.strip('()').split(', ') if part]


def lacking(name: str) -> list[str]:
    """Returns the distributions that do not have the name."""
    return [one for one in DISTRIBUTIONS if parameters(name, one) is None]


def call_faults(name: str, positional: int | None, keywords: tuple[str, ...]) -> list[str]:
    """Returns what is wrong with a call, on the distributions that have the name."""
    offered = {one: given for one in DISTRIBUTIONS if (given := parameters(name, one)) is not None}
    faults = [
        f'{name} has no argument {keyword} on {one}'
        for one, given in offered.items()
        for keyword in keywords
        if keyword not in given and not any(part.startswith('**') for part in given)
    ]
    if not positional:
        return faults
    first = {one: _positional(given)[:positional] for one, given in offered.items()}
    if len({tuple(given) for given in first.values()}) > 1:
        faults.append(f'arguments of {name} stand in another order, or are fewer: {first}')
    elif any(len(given) < positional and '*' not in given for given in first.values()):
        faults.append(f'{name} takes fewer arguments by position: {first}')
    return faults


def _positional(given: list[str]) -> list[str]:
    """Returns the parameters that may be given by position, then '*' where any number may."""
    end = next((place for place, part in enumerate(given) if part.startswith('*')), len(given))
    is_open = end < len(given) and given[end] != '*' and not given[end].startswith('**')
    return [*given[:end], *(['*'] if is_open else [])]
