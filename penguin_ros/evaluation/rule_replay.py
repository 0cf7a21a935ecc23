# SPDX-License-Identifier: Apache-2.0
"""Lets rules watch a recording: which events would have fired, and how probable each condition was
at every evaluation. The only clock is that of the recording.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.evaluation.offline import CAMERA
from penguin_ros.evaluation.rule_evaluator import RuleEvaluator, evaluation_of
from penguin_ros.frame import NANOSECONDS, Frame, Image
from penguin_ros.frame_sampling import evenly
from penguin_ros.rules.darkness import is_too_dark
from penguin_ros.rules.event import Evaluation, Event, EventKind
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.rule_set import RuleSet
from penguin_ros.rules.rule_store import RuleStore
from penguin_ros.rules.schedule import Batch


@dataclass
class Replay:
    """What the rules did: stamps of the recording, in nanoseconds.

    `doubts` are the stamps at which nobody could tell, by rule. `end_ns` is the last frame.
    """

    rules: tuple[Rule, ...]
    problems: tuple[str, ...] = ()
    evaluations: dict[str, list[Evaluation]] = field(default_factory=dict)
    doubts: dict[str, list[int]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    end_ns: int = 0


def rules_of(
    path: Path, config: PenguinConfig, camera: str = ''
) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """Returns the rules of a file that watch a camera, or all of them, as rules of a recording, and
    a sentence for each entry that is left out. SettingError when none is left.
    """
    if not path.is_file():
        raise SettingError(f'there is no file {path}', '', 'Give a file of rules with --rules FILE')
    found = RuleSet(config, [CAMERA])
    problems, _ = RuleStore(path).set_rules(found, 0)
    rules = [rule for rule in found.rules() if not camera or rule.watches(camera)]
    if not rules:
        why = (
            '; '.join(problems) or f'no rule watches camera {camera!r}' if camera else 'it is empty'
        )
        raise SettingError(f'{path} has no rule that could be replayed', why)
    return tuple(replace(rule, cameras=()) for rule in rules), tuple(problems)


def replay(
    frames: Iterable[tuple[int, Image]],
    rules: Sequence[Rule],
    evaluator: RuleEvaluator,
    config: PenguinConfig,
) -> Replay:
    """Returns what the rules did; `frames` are (time in nanoseconds, image), sampled as a camera's
    would be.
    """
    found = Replay(tuple(rules))
    watched = RuleSet(config, [CAMERA], steady_ns=lambda: found.end_ns)
    for rule in rules:
        watched.set_rule(rule, 'file', 0)
    longest_ns = max(rule.clip_ns for rule in rules)
    recent: deque[Frame] = deque()
    for time_ns, image in frames:
        recent.append(Frame(time_ns, image, CAMERA))
        while recent[0].stamp_ns <= time_ns - longest_ns:
            recent.popleft()
        if found.end_ns > time_ns:
            found.events += watched.clock_jumped('the recording jumped back', time_ns)
        found.end_ns = time_ns
        found.events += watched.check(time_ns)
        for batch in watched.due(CAMERA, time_ns):
            _evaluate(found, watched, batch, recent, evaluator, config)
    return found


def _evaluate(
    found: Replay,
    watched: RuleSet,
    batch: Batch,
    recent: Iterable[Frame],
    evaluator: RuleEvaluator,
    config: PenguinConfig,
) -> None:
    now_ns, size = found.end_ns, max(recent, key=lambda frame: frame.stamp_ns).size
    clip = [
        frame for frame in recent if frame.size == size and frame.stamp_ns > now_ns - batch.clip_ns
    ]
    if is_too_dark(clip[-1].image, config.rule.dark_level):
        for rule in batch.rules:
            found.doubts.setdefault(rule.id, []).append(now_ns)
        found.events += watched.report_unknown(CAMERA, 'it is too dark', now_ns, batch.rules)
        return
    chosen = [clip[place] for place in evenly(len(clip), config.clip.max_frames)]
    scores = evaluator.scores(chosen, batch.rules)
    for rule, score in zip(batch.rules, scores, strict=True):
        evaluation = evaluation_of(rule, score, now_ns)
        found.evaluations.setdefault(rule.id, []).append(evaluation)
        if evaluation.other_mass > config.rule.max_other_mass:
            found.doubts.setdefault(rule.id, []).append(now_ns)
        found.events += watched.observe(rule, CAMERA, evaluation)


@dataclass(frozen=True)
class Span:
    """An event of a rule as a stretch of the recording; `end_ns` None: it was still under way at
    the end.
    """

    rule: str
    begin_ns: int
    start_ns: int
    end_ns: int | None
    peak: float
    reason: str


def spans(found: Replay) -> list[Span]:
    """Returns the events, each as one, in the order of their beginnings."""
    begun: dict[str, Event] = {}
    last: dict[str, Event] = {}
    for event in found.events:
        if event.kind is EventKind.BEGIN:
            begun[event.id] = event
        last[event.id] = event
    result = []
    for name, begin in begun.items():
        end = last[name]
        is_over = end.kind in (EventKind.END, EventKind.LOST)
        end_ns = end.stamp_ns if is_over else None
        result.append(
            Span(begin.rule, begin.stamp_ns, begin.start_ns, end_ns, end.peak, end.reason)
        )
    return sorted(result, key=lambda span: (span.begin_ns, span.rule))


def record(found: Replay, origin_ns: int) -> dict[str, Any]:
    """Returns everything as plain values; times are seconds from the start of the recording."""

    def seconds(stamp_ns: int | None) -> float | None:
        return None if stamp_ns is None else round((stamp_ns - origin_ns) / NANOSECONDS, 3)

    return {
        'rules': [asdict(rule) for rule in found.rules],
        'problems': list(found.problems),
        'events': [
            {
                'rule': span.rule,
                'begin_s': seconds(span.begin_ns),
                'start_s': seconds(span.start_ns),
                'end_s': seconds(span.end_ns),
                'peak': round(span.peak, 4),
                'reason': span.reason,
            }
            for span in spans(found)
        ],
        'evaluations': {
            name: [
                [seconds(one.stamp_ns), round(one.probability, 4), round(one.other_mass, 4)]
                for one in evaluations
            ]
            for name, evaluations in found.evaluations.items()
        },
    }


def table(found: Replay, origin_ns: int) -> str:
    """Returns the rules and their events for people."""
    lines = [f'{"rule":<24}{"evaluations":>12}{"least":>8}{"most":>8}{"unknown":>9}{"events":>8}']
    events = spans(found)
    for rule in found.rules:
        values = [one.probability for one in found.evaluations.get(rule.id, [])]
        least, most = (f'{min(values):.2f}', f'{max(values):.2f}') if values else ('-', '-')
        unknown = len(found.doubts.get(rule.id, []))
        count = sum(span.rule == rule.id for span in events)
        lines.append(f'{rule.id:<24}{len(values):>12}{least:>8}{most:>8}{unknown:>9}{count:>8}')
    lines += ['', f'{"event of":<24}{"begins":>10}{"ends":>10}{"lasts":>9}{"peak":>7}']
    for span in events:
        begin = (span.begin_ns - origin_ns) / NANOSECONDS
        told = ['', '']
        if span.end_ns is not None:
            end = (span.end_ns - origin_ns) / NANOSECONDS
            told = [f'{end:.1f} s', f'{end - begin:.1f} s']
        row = f'{span.rule:<24}{f"{begin:.1f} s":>10}{told[0]:>10}{told[1]:>9}{span.peak:>7.2f}'
        lines.append(f'{row}  {span.reason}'.rstrip())
    if not events:
        lines.append('none')
    return '\n'.join(lines)
