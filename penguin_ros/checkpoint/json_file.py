# SPDX-License-Identifier: Apache-2.0
"""A JSON object of a checkpoint, read key by key; every failure names the file and the key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penguin_ros.checkpoint.folder_kind import pointer_error
from penguin_ros.errors import CheckpointConfigError, CheckpointNotFound, system_reason

MAX_BYTES = 256 * 1024 * 1024
MAX_INTEGER = 2**31 - 1
DOWNLOAD_AGAIN = 'Download the checkpoint again; a file may have been cut short'


class JsonFile:
    """Typed access to one JSON object; `where` says in errors which file, and which object in it,
    is meant.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def has(self, key: str) -> bool:
        """Returns whether the key has a value other than null."""
        return self.values.get(key) is not None

    def integer(self, key: str, low: int = 1, high: int = MAX_INTEGER) -> int:
        """Returns a whole number in [low, high]."""
        value = self._required(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.error(key, f'takes a whole number from {low} to {high}')
        return value

    def number(self, key: str) -> float:
        """Returns a finite number above 0."""
        return self._positive(key, self._required(key))

    def numbers(self, key: str, count: int, is_zero_allowed: bool = False) -> tuple[float, ...]:
        """Returns a list of `count` finite numbers above 0, or from 0."""
        value = self._required(key)
        if not isinstance(value, list) or len(value) != count:
            raise self.error(key, f'takes a list of {count} numbers')
        return tuple(
            0.0 if is_zero_allowed and item == 0 else self._positive(key, item) for item in value
        )

    def text(self, key: str) -> str:
        """Returns a text that is not empty."""
        value = self._required(key)
        if not isinstance(value, str) or not value or '\0' in value:
            raise self.error(key, 'takes a text')
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Returns true or false; `default` when the key is absent."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, 'takes true or false')
        return value

    def part(self, key: str) -> JsonFile:
        """Returns the object under `key`."""
        value = self._required(key)
        if not isinstance(value, dict):
            raise self.error(key, 'takes an object')
        return JsonFile(value, f'{self.where}, {key}')

    def error(self, key: str, why: str) -> CheckpointConfigError:
        """Returns the error for the value under `key`."""
        shown = repr(self.values.get(key))
        return CheckpointConfigError(f'{self.where}: {key} = {shown[:80]}', why)

    def _required(self, key: str) -> Any:
        if not self.has(key):
            raise CheckpointConfigError(
                f'{self.where} has no {key}',
                'every Penguin-VL checkpoint states it',
                DOWNLOAD_AGAIN,
            )
        return self.values[key]

    def _positive(self, key: str, value: Any) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number) and number > 0:
                return number
        raise self.error(key, 'takes numbers above 0')


def read_json(path: Path) -> JsonFile:
    """Reads `path`; CheckpointNotFound when it is no readable file, CheckpointConfigError when it
    holds no JSON object.
    """
    raw = read_bytes(path)
    try:
        values = json.loads(raw.decode('utf-8-sig'))
    except (ValueError, RecursionError) as error:
        raise CheckpointConfigError(
            f'{path} is not valid JSON', str(error), DOWNLOAD_AGAIN
        ) from error
    if not isinstance(values, dict):
        raise CheckpointConfigError(
            f'{path} is not a JSON object', f'it holds a {type(values).__name__}', DOWNLOAD_AGAIN
        )
    return JsonFile(values, str(path))


def is_file(path: Path) -> bool:
    """Returns whether `path` is a regular file; a path that the system refuses (too long,
    forbidden) is none.
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_bytes(path: Path) -> bytes:
    """Returns the content of a small file; CheckpointNotFound when it is absent or unreadable,
    CheckpointConfigError when it is larger than MAX_BYTES.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise CheckpointNotFound(f'{path} is no file', '', DOWNLOAD_AGAIN)
        if size > MAX_BYTES:
            raise CheckpointConfigError(
                f'{path} is too large', f'{size} bytes, at most {MAX_BYTES} are read'
            )
        pointer = pointer_error(path)
        if pointer is not None:
            raise pointer
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise CheckpointNotFound(
            f'{path} is missing', 'every Penguin-VL checkpoint has it', DOWNLOAD_AGAIN
        ) from error
    except OSError as error:
        why, fix = system_reason(error)
        raise CheckpointNotFound(f'{path} cannot be read', why, fix) from error
