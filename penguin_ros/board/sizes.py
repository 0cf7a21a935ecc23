# SPDX-License-Identifier: Apache-2.0
"""How large the things are that `penguin bench board` measures: those of the published 2B model, or
smaller ones where seconds count.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.checkpoint.shapes import TransformerShape

GIGABYTE = 1 << 30


@dataclass(frozen=True)
class BoardSizes:
    """`product` and `head` are inputs and outputs of the matrices that are multiplied; `head` is
    one of two parts. `length` positions are cached while a layer of the LLM decodes. A file of
    `file_bytes` is read, `copy_bytes` are copied; every time is the median of `repeats`. `tokens`
    are decoded at each of `positions` after prefills of `prefills` tokens. The soak takes `soak_s`,
    0 for none.
    """

    product: tuple[int, int] = (2048, 12288)
    head: tuple[int, int] = (2048, 75904)
    rows: tuple[int, ...] = (1, 8, 256)
    llm: TransformerShape = TransformerShape(1, 2048, 6144, 16, 8, 128, 1e6, 1e-6)
    encoder: TransformerShape = TransformerShape(1, 1024, 3072, 16, 8, 128, 1e6, 1e-6)
    length: int = 1024
    patches: tuple[int, ...] = (1024, 4096)
    vocabulary: int = 151675
    file_bytes: int = 2 * GIGABYTE
    copy_bytes: int = GIGABYTE // 4
    repeats: int = 20
    frames: tuple[int, ...] = (256, 1024, 2700, 4096)
    prefills: tuple[int, ...] = (256, 1060)
    positions: tuple[int, ...] = (256, 1000, 2000)
    tokens: int = 64
    soak_s: float = 0.0


SMALL = BoardSizes(
    product=(128, 256),
    head=(128, 384),
    rows=(1, 8, 16),
    llm=TransformerShape(1, 128, 256, 4, 2, 32, 1e6, 1e-6),
    encoder=TransformerShape(1, 128, 256, 4, 2, 32, 1e6, 1e-6),
    length=64,
    patches=(64, 256),
    vocabulary=640,
    file_bytes=16 << 20,
    copy_bytes=1 << 20,
    repeats=2,
    frames=(16, 64),
    prefills=(16, 40),
    positions=(32, 200),
    tokens=4,
)
"""For a network of some kilobytes: everything runs in seconds, and no figure means anything."""
