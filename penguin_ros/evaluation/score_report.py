# SPDX-License-Identifier: Apache-2.0
"""The figures of `penguin score`: a record for JSON and a table, made of what was asked and
answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from penguin_ros.errors import SettingError
from penguin_ros.evaluation.score import CAPTION, ScoredAnswer, ScoreRun, Suite
from penguin_ros.simulation.language import parse_caption
from penguin_ros.simulation.questions import KINDS, QuestionAnswer, normalised
from penguin_ros.simulation.scoring import (
    Share,
    difference,
    is_abstention,
    most_frequent,
    pooled,
    score_answer,
    wilson,
)

FORMAT = 1
"""The version of the JSON; it rises when a reader of it would have to change."""


def report(
    suite: Suite, result: ScoreRun, earlier: Sequence[ScoredAnswer] | None, seconds: float
) -> dict[str, Any]:
    """Everything that was found as plain values; `earlier` are the records of another run on the
    same scenes.
    """
    asked = [record for record in result.records if record.kind != CAPTION]
    captions = [record for record in result.records if record.kind == CAPTION]
    constant = most_frequent(
        QuestionAnswer(record.kind, record.question, record.expected) for record in asked
    )
    others = [record for record in asked if record.kind != 'unanswerable']
    facts = result.facts
    errors = [record.error for record in result.records if record.error]
    return {
        'format': FORMAT,
        'model': facts.name,
        'backend': facts.backend,
        'device': facts.device,
        'precision': facts.precision,
        'level': suite.level,
        'size': [suite.width, suite.height],
        'scenes': len(captions),
        'questions': len(asked),
        'kinds': {
            kind: _kind(records, constant, suite.is_blind_too)
            for kind in KINDS
            if (records := [record for record in asked if record.kind == kind])
        },
        'all': _kind(asked, constant, suite.is_blind_too),
        'abstained_wrongly': _share(
            wilson(sum(is_abstention(record.given) for record in others), len(others))
        ),
        'caption': _captions(captions),
        **({'against': _against(asked, earlier)} if earlier is not None else {}),
        'errors': len(errors),
        'first_error': errors[0] if errors else '',
        'seconds': round(seconds, 1),
    }


def _kind(
    records: Sequence[ScoredAnswer], constant: dict[str, str], is_blind_too: bool
) -> dict[str, Any]:
    total = len(records)
    guessed = sum(normalised(record.expected) == constant[record.kind] for record in records)
    blind = sum(score_answer(record.blind, record.expected) for record in records)
    return {
        **_share(wilson(sum(record.right for record in records), total)),
        'most_frequent_answer': round(guessed / total, 4) if total else 0.0,
        'without_picture': (round(blind / total, 4) if total else 0.0) if is_blind_too else None,
    }


def _captions(records: Sequence[ScoredAnswer]) -> dict[str, Any]:
    right = [record.right for record in records]
    return {
        'precision': _share(pooled(right, [record.claimed for record in records])),
        'recall': _share(pooled(right, [record.wanted for record in records])),
        'outside_the_grammar': sum(parse_caption(record.given) is None for record in records),
    }


def _share(share: Share) -> dict[str, float]:
    return {
        'value': round(share.value, 4),
        'low': round(share.low, 4),
        'high': round(share.high, 4),
        'of': int(share.total),
    }


def _against(asked: Iterable[ScoredAnswer], earlier: Sequence[ScoredAnswer]) -> dict[str, float]:
    """The paired difference in accuracy to another run; SettingError when that one was asked other
    questions.
    """
    before = {(record.seed, record.question): record for record in earlier}
    pairs = [(before.get((record.seed, record.question)), record) for record in asked]
    known = [
        (float(old.right), float(new.right))
        for old, new in pairs
        if old is not None and old.expected == new.expected
    ]
    if not known or len(known) < len(pairs):
        raise SettingError(
            '--against',
            f'{len(pairs) - len(known)} of {len(pairs)} questions are not in that file',
            'Give the answers of a run with the same --scenes, --skip, --level, --questions and '
            '--fps',
        )
    mean, low, high = difference([first for first, _ in known], [second for _, second in known])
    return {
        'difference': round(mean, 4),
        'low': round(low, 4),
        'high': round(high, 4),
        'of': len(known),
    }


def table(found: dict[str, Any]) -> str:
    """A table for people, with shares in percent and 95 % intervals in brackets."""
    caption = found['caption']
    lines = [
        f'{found["model"]} on {found["backend"]}, {found["precision"]}, {found["device"]}: '
        f'{found["scenes"]} scenes of level {found["level"]}, {found["questions"]} questions, '
        f'{found["seconds"]:.0f} s',
        '',
        f'{"kind":<14}{"asked":>6}{"right %":>9}  {"95 %":<16}'
        f'{"most frequent answer %":>23}{"without picture %":>19}',
    ]
    lines += [_row(kind, row) for kind, row in (*found['kinds'].items(), ('all', found['all']))]
    lines += [
        '',
        f'captions: precision {_percent(caption["precision"])}, '
        f'recall {_percent(caption["recall"])}, '
        f'{caption["outside_the_grammar"]} outside the grammar',
        f'abstained where it could be seen: {_percent(found["abstained_wrongly"])}',
    ]
    if 'against' in found:
        gap = found['against']
        lines.append(
            f'against the other run: {gap["difference"] * 100:+.1f} points '
            f'({gap["low"] * 100:+.1f} to {gap["high"] * 100:+.1f}), {gap["of"]} paired questions'
        )
    if found['errors']:
        lines.append(
            f'{found["errors"]} requests ended in an error; the first: {found["first_error"]}'
        )
    return '\n'.join(lines)


def _row(kind: str, row: dict[str, Any]) -> str:
    interval = f'({row["low"] * 100:.1f} - {row["high"] * 100:.1f})'
    blind = '' if row['without_picture'] is None else f'{row["without_picture"] * 100:.1f}'
    shares = f'{row["value"] * 100:>9.1f}  {interval:<16}{row["most_frequent_answer"] * 100:>23.1f}'
    return f'{kind:<14}{row["of"]:>6}{shares}{blind:>19}'


def _percent(share: dict[str, float]) -> str:
    interval = f'{share["low"] * 100:.1f} - {share["high"] * 100:.1f}'
    return f'{share["value"] * 100:.1f} % ({interval}, of {share["of"]})'
