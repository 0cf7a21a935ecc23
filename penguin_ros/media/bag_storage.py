# SPDX-License-Identifier: Apache-2.0
"""What the files of a bag have in common: topics, messages, what is lost of them, compression."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from penguin_ros.errors import LibraryUnusable
from penguin_ros.libraries import remedy

DAMAGED = 'damaged'
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
ZSTD_MODULES = ('compression.zstd', 'backports.zstd', 'zstandard')
"""In Python 3.14 and newer; what rosbags brings for older ones, and what older rosbags brings."""


@dataclass(frozen=True)
class StoredTopic:
    """A topic, the type of its messages, and how they are written."""

    name: str
    type: str
    encoding: str


@dataclass(frozen=True)
class StoredMessage:
    """A message as it was stored, and when it was recorded."""

    topic: StoredTopic
    bag_ns: int
    data: bytes


@dataclass(frozen=True)
class Lost:
    """A part that cannot be read; `count` messages of the topic asked for were in it, None when
    that cannot be told.
    """

    cause: str
    reason: str
    count: int | None = None


class DamagedBag(Exception):
    """A file that is not, or no longer, one of a bag: why, and what to type."""

    def __init__(self, why: str, fix: str = '') -> None:
        self.why = why
        self.fix = fix
        super().__init__(why)


class BagFile(Protocol):
    """One file of a bag."""

    path: Path
    topics: dict[int, StoredTopic]
    is_cut: bool
    start_ns: int | None
    end_ns: int | None

    def count(self, channel: int) -> int | None:
        """Returns how many messages of a channel it has by its own account, if it has one."""

    def messages(self, topic: str) -> Iterator[StoredMessage | Lost]:
        """Yields the messages of a topic, and what of it is lost."""


def decompressed(content: bytes, compression: str) -> bytes:
    """Returns content as it was before compression, '' meaning none; ValueError when it is damaged
    or compressed in another way, LibraryUnusable when the library for it is missing.
    """
    if not compression:
        return content
    if compression not in ('zstd', 'lz4'):
        raise ValueError(f'it is compressed with {compression}, not with zstd or lz4')
    module = zstd() if compression == 'zstd' else _imported('lz4.frame')
    try:
        return bytes(_decompress(module, content))
    except Exception as error:  # each library has its own
        raise ValueError(f'{compression} cannot decompress it: {error}') from error


def beginning_of(content: bytes, compression: str) -> bytes:
    """Returns what can be decompressed of content that is cut off; ValueError when nothing can."""
    if not compression:
        return content
    try:
        if compression == 'lz4':
            return bytes(_imported('lz4.frame').LZ4FrameDecompressor().decompress(content))
        module = zstd()
        decompressor = module.ZstdDecompressor()
        if module.__name__ == 'zstandard':
            decompressor = decompressor.decompressobj()
        return bytes(decompressor.decompress(content))
    except Exception as error:  # each library has its own
        raise ValueError(f'{compression} cannot decompress it: {error}') from error


def zstd() -> Any:
    """Returns whichever library for zstd there is; LibraryUnusable when there is none."""
    for name in ZSTD_MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return _imported(ZSTD_MODULES[1])


def _decompress(module: Any, content: bytes) -> Any:
    if hasattr(module, 'decompress') and module.__name__ != 'zstandard':
        return module.decompress(content)
    return module.ZstdDecompressor().decompressobj().decompress(content)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LibraryUnusable(
            f'the library {name} is missing', str(error), remedy(error, 'rosbags')
        ) from error
