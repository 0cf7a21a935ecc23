# SPDX-License-Identifier: Apache-2.0
"""What was asked and changed through the console: one line of JSON each, who, when and what."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MAX_LINE = 2000
MAX_BYTES = 16 << 20


class AuditLog:
    """Writes lines to a file that only its owner may read, or hands them to `log` where no file is
    wanted. A file that has grown to `MAX_BYTES` becomes NAME.1, in the place of an older one.
    """

    def __init__(
        self, path: Path | None, log: Callable[[str], None], now: Callable[[], str]
    ) -> None:
        self._path = path
        self._log = log
        self._now = now
        self.failures = 0

    def write(self, who: str, address: str, what: str, fields: Mapping[str, Any]) -> None:
        """Writes one line; a file that cannot be written is counted and told once, and the line
        goes to the log.
        """
        entry = {'time': self._now(), 'who': who, 'from': address, 'what': what}
        line = _shortened(entry, fields)
        if self._path is None:
            self._log(line)
            return
        try:
            self._append(self._path, line)
        except OSError as error:
            self.failures += 1
            if self.failures == 1:
                self._log(f'the audit file {self._path} cannot be written: {error}')
            self._log(line)

    def _append(self, path: Path, line: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, 'a', encoding='ascii') as file:
            file.write(line + '\n')
            size = file.tell()
        if size > MAX_BYTES:
            path.replace(path.with_name(path.name + '.1'))


def _shortened(entry: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """Returns a line of JSON; of fields that are too long for one it has the begin, as `cut`."""
    line = _dumped({**entry, **fields})
    text, room = json.dumps(fields, ensure_ascii=False, default=str), MAX_LINE
    while len(line) > MAX_LINE and room:
        room = room * 3 // 4
        line = _dumped({**entry, 'cut': text[:room]})
    return line


def _dumped(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=True, default=str)
