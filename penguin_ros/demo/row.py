# SPDX-License-Identifier: Apache-2.0
"""One caption of a simulated scene beside its truth, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from penguin_ros.console import print_line
from penguin_ros.frame import NANOSECONDS
from penguin_ros.simulation.scoring import CaptionScore

Claims = frozenset[tuple[object, ...]]
FILE_WIDTH = 240
RIGHT, WRONG, MISSED = 'green', 'red', 'yellow'
_ORDER = ('thing', 'count', 'order')


@dataclass(frozen=True)
class ShownCaption:
    """A caption of a whole scene beside the truth. `stamps_ns` are those of its frames; the claims
    are those of `simulation.language.Facts`.
    """

    number: int
    text: str
    true_text: str
    stamps_ns: tuple[int, ...]
    score: CaptionScore
    right: Claims
    wrong: Claims
    missed: Claims


def print_row(shown: ShownCaption) -> None:
    """Prints caption, truth and what is wrong, in colours on a terminal; things that are told
    correctly are green.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style='dim', no_wrap=True)
    grid.add_column(overflow='fold')
    grid.add_row(
        f'scene {shown.number + 1}',
        Text(verdict(shown), 'bold ' + (RIGHT if is_perfect(shown) else MISSED)),
    )
    caption = Text(shown.text)
    for style, claims in ((RIGHT, shown.right), (WRONG, shown.wrong)):
        caption.highlight_words(
            [f'{claim[1]} {claim[2]}' for claim in claims if claim[0] == 'thing'], style
        )
    grid.add_row('caption', caption)
    grid.add_row('truth', shown.true_text)
    for label, style, claims in (('wrong', WRONG, shown.wrong), ('missed', MISSED, shown.missed)):
        if claims and not is_perfect(shown):
            grid.add_row(label, Text('; '.join(claim_texts(claims)), style))
    if sys.stdout.isatty():
        Console(highlight=False).print(grid, '')
        return
    console = Console(width=FILE_WIDTH, highlight=False)
    with console.capture() as captured:
        console.print(grid)
    for line in captured.get().splitlines():
        print_line(line.rstrip())  # a table fills its lines with blanks
    print_line('')


def is_perfect(shown: ShownCaption) -> bool:
    """Whether everything that is told is right, and everything true is told."""
    return shown.score.is_parsed and not shown.wrong and not shown.missed


def verdict(shown: ShownCaption) -> str:
    """Says when the caption was and how many of its facts are right."""
    score = shown.score
    first_ns, last_ns = shown.stamps_ns[0], shown.stamps_ns[-1]
    counts = (
        f'{score.right} of {score.claimed} facts right'
        if score.is_parsed
        else 'not a sentence of the grammar'
    )
    missed = f', {len(shown.missed)} missed' if shown.missed else ''
    return f'{first_ns / NANOSECONDS:.1f} – {last_ns / NANOSECONDS:.1f} s: {counts}{missed}'


def claim_texts(claims: Iterable[tuple[object, ...]]) -> list[str]:
    """Puts each claim in a few words, things first."""
    return [
        _claim_text(claim)
        for claim in sorted(claims, key=lambda claim: (_ORDER.index(str(claim[0])), str(claim)))
    ]


def _claim_text(claim: tuple[object, ...]) -> str:
    if claim[0] == 'thing':
        return f'{claim[1]} {claim[2]}: {claim[3]}'
    if claim[0] == 'order':
        return ' before '.join(' '.join(name) for name in claim[1:] if isinstance(name, tuple))
    return f'{claim[1]} in all'
