# SPDX-License-Identifier: Apache-2.0
"""Fields of a JSON object as values of the type that they must have; what is wrong is named by its
place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penguin_ros.serving.refusals import bad_request


class Fields:
    """One JSON object of a request; `place` is its name in the body, '' for the body itself. A
    field that is null counts as left out.
    """

    def __init__(self, content: Any, place: str = '') -> None:
        if not isinstance(content, Mapping):
            raise bad_request(f'{place or "the body"} is no JSON object', place or None)
        self._content = content
        self._place = place

    def name(self, field: str) -> str:
        """Returns the whole name of a field."""
        return f'{self._place}.{field}' if self._place else field

    def has(self, field: str) -> bool:
        """Tells whether a field is there."""
        return self._content.get(field) is not None

    def raw(self, field: str) -> Any:
        """Returns a field as it is, None when it is left out."""
        return self._content.get(field)

    def text(self, field: str, default: str = '', longest: int | None = None) -> str:
        """Returns a string."""
        value = self._content.get(field)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(field, 'a string')
        if longest is not None and len(value) > longest:
            raise self.wrong(field, f'a string of at most {longest} characters')
        return value

    def number(self, field: str, least: float, most: float) -> float | None:
        """Returns a number within its limits, both included; None when it is left out."""
        value = self._content.get(field)
        if value is None:
            return None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:  # which no NaN is
            raise self.wrong(field, f'a number from {least:g} to {most:g}')
        return float(value)

    def integer(self, field: str, least: int, most: int) -> int | None:
        """Returns a whole number within its limits, both included; None when it is left out."""
        value = self._content.get(field)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(field, f'a whole number from {least} to {most}')
        return value

    def flag(self, field: str) -> bool:
        """Returns true or false; false when it is left out."""
        value = self._content.get(field)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(field, 'true or false')
        return bool(value)

    def object(self, field: str) -> Fields:
        """Returns an object, an empty one when it is left out."""
        value = self._content.get(field)
        return Fields({} if value is None else value, self.name(field))

    def items(self, field: str, most: int) -> list[Any]:
        """Returns a list of at most so many items, an empty one when it is left out."""
        value = self._content.get(field)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(field, f'a list of at most {most}')
        return value

    def texts(self, field: str, most: int, longest: int) -> tuple[str, ...]:
        """Returns a list of strings, or one string as a list."""
        value = self._content.get(field)
        values = [value] if isinstance(value, str) else self.items(field, most)
        if not all(isinstance(each, str) and len(each) <= longest for each in values):
            raise self.wrong(field, f'strings of at most {longest} characters')
        return tuple(values)

    def wrong(self, field: str, wanted: str) -> Exception:
        """Returns the refusal of a field that is not what it must be."""
        name = self.name(field)
        return bad_request(f'{name} takes {wanted}', name)
