# SPDX-License-Identifier: Apache-2.0
"""Entries as plain values, and written to a folder: JSON lines with the evidence, and pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from penguin_ros.errors import SystemRefusal, UnknownEntry, system_refusal
from penguin_ros.memory.entry import Entry, Hit
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.store import Store

ENTRIES, PICTURES = 'entries.jsonl', 'pictures'
PAGE = 1000


@dataclass(frozen=True)
class Exported:
    """How much was written, and of which entries the picture is missing or damaged."""

    entries: int
    pictures: int
    without_picture: tuple[int, ...]


def record(entry: Entry) -> dict[str, Any]:
    """Returns an entry as plain values; stamps in nanoseconds."""
    return {
        'id': entry.id,
        'session': entry.session,
        'kind': entry.kind.name.lower(),
        'node': entry.node,
        'camera': entry.camera,
        'start_ns': entry.start_ns,
        'end_ns': entry.end_ns,
        'text': entry.text,
        'question': entry.question,
        'pose': asdict(entry.pose) if entry.pose else None,
        'picture_ns': entry.picture_ns if entry.has_picture else None,
        'is_pinned': entry.is_pinned,
        'evidence': entry.evidence,
    }


def hits_of(store: Store, asked: Filter) -> Iterator[Hit]:
    """Yields all hits of a search, page after page."""
    while True:
        page = store.recall(asked)
        yield from page.hits
        if not page.next_page:
            return
        asked = replace(asked, page=page.next_page)


def export(store: Store, asked: Filter, folder: Path) -> Exported:
    """Writes what fits to an empty or new folder, for its owner only. SystemRefusal when that is
    not possible; what was written by then stays.
    """
    try:
        (folder / PICTURES).mkdir(mode=0o700, parents=True)
        folder.chmod(0o700)
    except FileExistsError:
        raise SystemRefusal(
            f'{folder} cannot be written', 'there is an export in it', 'Name another folder'
        ) from None
    except OSError as error:
        raise system_refusal(error, f'{folder} cannot be written') from error
    count, written, missing = 0, set(), []
    try:
        with _private(folder / ENTRIES) as lines:
            for hit in hits_of(store, replace(asked, limit=PAGE)):
                values = record(hit.entry)
                if hit.entry.has_picture:
                    values['picture'] = name = _write_picture(store, hit.entry, folder)
                    written.add(name) if name else missing.append(hit.entry.id)
                lines.write(json.dumps(values, ensure_ascii=False).encode() + b'\n')
                count += 1
    except OSError as error:
        raise system_refusal(error, f'{folder} cannot be written') from error
    return Exported(count, len(written), tuple(missing))


def _write_picture(store: Store, entry: Entry, folder: Path) -> str | None:
    """Writes an entry's picture; returns its name in the folder, None when it is missing."""
    try:
        content = store.picture(entry)
    except UnknownEntry:
        return None
    ending = 'jpg' if content.startswith(b'\xff\xd8\xff') else 'bin'
    name = f'{PICTURES}/{entry.digest}.{ending}'
    if not (folder / name).exists():
        with _private(folder / name) as stream:
            stream.write(content)
    return name


def _private(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), 'wb')
