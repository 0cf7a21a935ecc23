# SPDX-License-Identifier: Apache-2.0
"""Which token sequences stand for which answer.

A sequence belongs to one answer at most. Those of choices end with a stop token, so that no one is
the beginning of another, and their probabilities can be added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from penguin_ros.generation.branches import Context, LogProbabilities
from penguin_ros.scoring.choice_score import log_sum

YES_NO = ('yes', 'no')

CANNOT_TELL = (
    'I cannot see that.',
    'I cannot tell.',
    'It cannot be seen.',
    'Cannot tell.',
    'Not visible.',
    'Unknown.',
)
"""Wordings that say that a question cannot be answered from what is seen."""

FULL_STOPS = '.!?'

TokenSequence = tuple[int, ...]
"""The tokens of one wording of an answer."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The answers to one question: for each of `choices` its token sequences, and those that say
    that it cannot be told.
    """

    choices: tuple[str, ...]
    sequences: tuple[tuple[TokenSequence, ...], ...]
    cannot_tell: tuple[TokenSequence, ...]

    @cached_property
    def wanted(self) -> dict[Context, list[int]]:
        """What is to be read: for each beginning of a sequence the tokens that follow it."""
        wanted: dict[Context, list[int]] = {}
        for sequence in self._all():
            for place, token_id in enumerate(sequence):
                after = wanted.setdefault(sequence[:place], [])
                if token_id not in after:
                    after.append(token_id)
        return wanted

    def log_masses(self, found: LogProbabilities) -> tuple[float, ...]:
        """Returns the logarithm of each choice's probability."""
        return tuple(self._log_mass(sequences, found) for sequences in self.sequences)

    def cannot_tell_log_mass(self, found: LogProbabilities) -> float:
        """Returns that of the wordings that say that it cannot be told."""
        return self._log_mass(self.cannot_tell, found)

    def _log_mass(self, sequences: Sequence[TokenSequence], found: LogProbabilities) -> float:
        return log_sum([self._log_probability(sequence, found) for sequence in sequences])

    def _log_probability(self, sequence: TokenSequence, found: LogProbabilities) -> float:
        total = 0.0
        for place, token_id in enumerate(sequence):
            context = sequence[:place]
            total += float(found[context][self.wanted[context].index(token_id)])
        return total

    def _all(self) -> Iterator[TokenSequence]:
        for sequences in (*self.sequences, self.cannot_tell):
            yield from sequences


def is_yes_no(choices: Sequence[str]) -> bool:
    """Returns whether the choices are yes and no, in any letter case and order."""
    return sorted(choice.strip().casefold() for choice in choices) == sorted(YES_NO)


def outcomes_of(
    choices: Sequence[str],
    encode: Callable[[str], list[int]],
    stop_token_ids: Sequence[int],
    has_cannot_tell: bool,
) -> Outcomes:
    """Returns the outcomes of a question with these choices; without any it is yes or no. `encode`
    gives the tokens of plain text.
    """
    choices = tuple(choices) or YES_NO
    taken: set[TokenSequence] = set()
    if is_yes_no(choices):
        words = [_word_sequences(choice.strip(), encode) for choice in choices]
        sequences = [_unclaimed(each, taken) for each in words]
    else:
        sequences = _choice_sequences(choices, encode, stop_token_ids, taken)
    cannot_tell: tuple[TokenSequence, ...] = ()
    if has_cannot_tell:
        texts = [text for phrase in CANNOT_TELL for text in _wordings(phrase)]
        cannot_tell = _unclaimed(
            (sequence for text in texts for sequence in _ended(text, encode, stop_token_ids)), taken
        )
    return Outcomes(choices, tuple(sequences), cannot_tell)


def _word_sequences(word: str, encode: Callable[[str], list[int]]) -> list[TokenSequence]:
    """Returns the tokens of a word in lower, title and upper case, with and without a space before
    it; none begins with another.
    """
    cased = (word.lower(), word.capitalize(), word.upper())
    found = sorted({tuple(encode(space + text)) for text in cased for space in ('', ' ')}, key=len)
    kept: list[TokenSequence] = []
    for sequence in found:
        if not any(sequence[: len(other)] == other for other in kept):
            kept.append(sequence)
    return kept


def _choice_sequences(
    choices: Sequence[str],
    encode: Callable[[str], list[int]],
    stop_token_ids: Sequence[int],
    taken: set[TokenSequence],
) -> list[tuple[TokenSequence, ...]]:
    """Gives each choice its text as it stands first, then the other wordings that are nobody's."""
    exact = [_unclaimed(_ended(text, encode, stop_token_ids), taken) for text in choices]
    others = [
        _unclaimed(
            (
                sequence
                for wording in _wordings(text)
                for sequence in _ended(wording, encode, stop_token_ids)
            ),
            taken,
        )
        for text in choices
    ]
    return [one + other for one, other in zip(exact, others, strict=True)]


def _wordings(text: str) -> list[str]:
    """Returns a text with its first letter small and large, each with and without a full stop."""
    bare = text.rstrip(FULL_STOPS) or text
    cased = dict.fromkeys((text[:1] + bare[1:], bare[:1].lower() + bare[1:], _titled(bare)))
    return [wording + stop for wording in cased for stop in ('', '.')]


def _titled(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ended(
    text: str, encode: Callable[[str], list[int]], stop_token_ids: Sequence[int]
) -> list[TokenSequence]:
    ids = encode(text)
    return [(*ids, stop) for stop in dict.fromkeys(stop_token_ids)]


def _unclaimed(
    sequences: Iterable[TokenSequence], taken: set[TokenSequence]
) -> tuple[TokenSequence, ...]:
    found = []
    for sequence in sequences:
        if sequence and sequence not in taken:
            taken.add(sequence)
            found.append(sequence)
    return tuple(found)
