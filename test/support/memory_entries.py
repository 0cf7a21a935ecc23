# SPDX-License-Identifier: Apache-2.0
"""Entries for tests of the memory, and what is read of what was found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from penguin_ros.memory.entry import Kind, NewEntry, Page
from penguin_ros.memory.store import Store

SECOND = 10**9


def caption(number: int, text: str = '', **changes: object) -> NewEntry:
    """A caption from `number` to `number` + 1 seconds."""
    start = number * SECOND
    plain = NewEntry(Kind.CAPTION, '/penguin', 'front', start, start + SECOND, text or f'n{number}')
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def filled(store: Store, entries: Sequence[NewEntry]) -> Store:
    """The store, with these entries committed."""
    for entry in entries:
        assert store.add(entry, is_patient=True)
    store.flush()
    return store


def texts(page: Page) -> list[str]:
    """The texts that were found, in their order."""
    return [hit.entry.text for hit in page.hits]
