# SPDX-License-Identifier: Apache-2.0
"""The figures of `penguin score --rules`: a record for JSON and a table, with 95 % intervals.

Shares have Wilson's interval; a median has the range of the medians of the 95 % of resampled
delays in the middle (bootstrap, 2,000 times, a fixed seed).
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import Any

from penguin_ros.config import PenguinConfig
from penguin_ros.evaluation.rule_events import Track, Verdict, judged
from penguin_ros.evaluation.rule_scenes import KINDS
from penguin_ros.evaluation.rule_score import RULES, RuleRun, RuleSuite
from penguin_ros.simulation.scoring import wilson

FORMAT = 1
RESAMPLES = 2000


def report(suite: RuleSuite, run: RuleRun, config: PenguinConfig, seconds: float) -> dict[str, Any]:
    """Everything that was found, as plain values."""
    methods = {RULES: run.tracks[RULES]}
    if run.baseline_tracks:
        methods[f'{RULES}, same scenes'] = run.tracks[RULES][: run.baseline_tracks]
        methods |= {name: tracks for name, tracks in run.tracks.items() if name != RULES}
    rule = config.rule
    hours = run.static_evaluations / config.clip.fps / 3600
    return {
        'format': FORMAT,
        'model': run.model.name,
        'backend': run.model.backend,
        'device': run.model.device,
        'precision': run.model.precision,
        'scenes': suite.scenes,
        'rules': len(run.tracks[RULES]),
        'evaluations': run.evaluations,
        'fps': config.clip.fps,
        'thresholds': [rule.threshold_begin, rule.threshold_end],
        'confirm': [rule.confirm_count, rule.confirm_window],
        'heal': [rule.heal_count, rule.heal_window],
        'is_calibrated': rule.calibrated,
        'kinds': {
            kind: _figures([track for track in run.tracks[RULES] if track.kind == kind])
            for kind in KINDS
        },
        'methods': {name: _figures(tracks) for name, tracks in methods.items()},
        'unknown': run.unknown,
        'static': {
            'hours': round(hours, 3),
            'evaluations': run.static_evaluations,
            'rules': run.static_rules,
            'flaps': len(run.static_flaps),
            'flaps_per_hour': round(len(run.static_flaps) / hours, 3) if hours else 0.0,
            'first_flap': (run.static_flaps or [''])[0],
            'not_found': run.static_missing,
        },
        'evaluation_ms': round(statistics.median(run.evaluation_ms), 1),
        'seconds': round(seconds, 1),
    }


def _figures(tracks: Sequence[Track]) -> dict[str, Any]:
    verdicts = [judged(track) for track in tracks]
    found = sum(one.found for one in verdicts)
    false = sum(one.false for one in verdicts)
    true = sum(one.true_events for one in verdicts)
    delays = [delay for one in verdicts for delay in one.delays]
    return {
        'rules': len(tracks),
        'without_event': sum(not one.true_events for one in verdicts),
        'true_events': true,
        'found': found,
        'false': false,
        'unjudged': sum(one.unjudged for one in verdicts),
        'precision': _share(found, found + false),
        'recall': _share(found, true),
        'delay': _median(delays),
        'end_delay': _median([delay for one in verdicts for delay in one.end_delays]),
        'delays': {str(value): delays.count(value) for value in sorted(set(delays))},
        'quiet': _quiet(verdicts),
    }


def _quiet(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """The share of rules without a true event that told none."""
    none = [one for one in verdicts if not one.true_events]
    return _share(sum(not one.false for one in none), len(none))


def _share(count: int, total: int) -> dict[str, float]:
    share = wilson(count, total)
    value, low, high = (round(one, 4) for one in (share.value, share.low, share.high))
    return {'value': value, 'low': low, 'high': high, 'of': total}


def _median(values: Sequence[int]) -> dict[str, float | None]:
    if not values:
        return {'value': None, 'low': None, 'high': None, 'of': 0}
    source = random.Random('penguin rules')
    medians = sorted(
        statistics.median(source.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    low, high = medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1]
    return {'value': statistics.median(values), 'low': low, 'high': high, 'of': len(values)}


def table(found: dict[str, Any]) -> str:
    """A table for people."""
    static = found['static']
    begin, end = found['thresholds']
    lines = [
        f'{found["model"]} on {found["backend"]}, {found["precision"]}, {found["device"]}: '
        f'{found["scenes"]} scenes, {found["rules"]} rules, {found["evaluations"]} evaluations, '
        f'{found["seconds"]:.0f} s',
        f'an event begins at {begin:g} in {found["confirm"][0]} of {found["confirm"][1]} '
        f'evaluations and ends below {end:g} in {found["heal"][0]} of {found["heal"][1]}; '
        f'neutral clip {"subtracted" if found["is_calibrated"] else "not subtracted"}',
        '',
        f'{"":<28}{"events":>7}{"found":>7}{"false":>7}  {"precision % (95 %)":<22}'
        f'{"recall % (95 %)":<22}{"delay (95 %)":<14}',
    ]
    rows = [(kind, one) for kind, one in found['kinds'].items() if one['rules']]
    rows += list(found['methods'].items())
    lines += [_row(name, one) for name, one in rows]
    lines += [
        '',
        'delay: median evaluations from the first clip that shows it to the beginning of the event',
        f'evaluations without an answer: {found["unknown"]} of {found["evaluations"]}',
        f'static scenes with camera noise: {static["hours"]:.2f} h, {static["evaluations"]} '
        f'evaluations of {static["rules"]} rules: {static["flaps"]} flaps '
        f'({static["flaps_per_hour"]:.1f} per hour), {len(static["not_found"])} not found',
        f'all rules of a scene in one pass: median {found["evaluation_ms"]:.0f} ms',
    ]
    return '\n'.join(lines)


def _row(name: str, one: dict[str, Any]) -> str:
    delay = one['delay']
    told = (
        '' if delay['value'] is None else f'{delay["value"]:g} ({delay["low"]:g}-{delay["high"]:g})'
    )
    return (
        f'{name:<28}{one["true_events"]:>7}{one["found"]:>7}{one["false"]:>7}  '
        f'{_percent(one["precision"]):<22}{_percent(one["recall"]):<22}{told:<14}'
    )


def _percent(share: dict[str, float]) -> str:
    if not share['of']:
        return '-'
    return f'{share["value"] * 100:.1f} ({share["low"] * 100:.1f}-{share["high"] * 100:.1f})'
