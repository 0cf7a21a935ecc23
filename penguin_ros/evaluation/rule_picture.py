# SPDX-License-Identifier: Apache-2.0
"""Draws how probable the conditions of a replay were over time, with thresholds and events."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

from penguin_ros.atomic_file import check_output, write_bytes
from penguin_ros.errors import PenguinError
from penguin_ros.evaluation.rule_replay import Replay, spans
from penguin_ros.frame import NANOSECONDS
from penguin_ros.libraries import remedy
from penguin_ros.rules.rule import Rule, Severity

MOST_RULES = 24
"""Rules that fit into a picture; the first ones are drawn."""
EVENT_COLOURS = {Severity.OK: '#8cc08c', Severity.WARN: '#e8b84a', Severity.ERROR: '#d86a5a'}
CHARACTERS = 95
LEGEND = (
    'line: probability; dashed, dotted: thresholds to begin and to end; coloured: an event, by '
    'severity; grey: unknown'
)


def check_picture(path: Path) -> None:
    """Raises PenguinError when no picture can be drawn, before anything is evaluated."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        what, why = 'no picture can be drawn', f'importing {error.name} failed'
        raise PenguinError(what, why, remedy(error, 'matplotlib')) from error
    if path.suffix.lower() not in ('.png', '.svg', '.pdf'):
        what, why = f'{path} cannot be drawn', 'its ending says what it is'
        raise PenguinError(what, why, 'Use .png, .svg or .pdf')
    check_output(path, option='--picture FILE')


def draw(path: Path, found: Replay, origin_ns: int, title: str) -> None:
    """Draws a panel per rule."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    rules = found.rules[:MOST_RULES]
    figure, panels = pyplot.subplots(
        len(rules),
        1,
        figsize=(9.0, 0.8 + 1.25 * len(rules)),
        sharex=True,
        squeeze=False,
        layout='constrained',
    )
    for axes, rule in zip(panels[:, 0], rules, strict=True):
        _panel(axes, found, rule, origin_ns)
    panels[-1, 0].set_xlabel(f'seconds of the recording\n{LEGEND}', fontsize=8)
    figure.suptitle(title, fontsize=10)
    drawn = io.BytesIO()
    try:
        figure.savefig(drawn, dpi=110, format=path.suffix[1:].lower())
    finally:
        pyplot.close(figure)
    write_bytes(path, drawn.getvalue())


def _panel(axes: Any, found: Replay, rule: Rule, origin_ns: int) -> None:
    def seconds(stamp_ns: int) -> float:
        return (stamp_ns - origin_ns) / NANOSECONDS

    colour = EVENT_COLOURS[Severity(rule.severity)]
    for span in (span for span in spans(found) if span.rule == rule.id):
        end_ns = found.end_ns if span.end_ns is None else span.end_ns
        axes.axvspan(seconds(span.begin_ns), seconds(end_ns), color=colour, alpha=0.45, lw=0)
        axes.axvline(seconds(span.begin_ns), color=colour, lw=1.5)
    for stamp_ns in found.doubts.get(rule.id, []):
        axes.axvline(seconds(stamp_ns), color='#999999', lw=2.0, alpha=0.5)
    evaluations = found.evaluations.get(rule.id, [])
    axes.plot(
        [seconds(one.stamp_ns) for one in evaluations],
        [one.probability for one in evaluations],
        '.-',
        color='#2060a0',
        lw=1.0,
        ms=4,
    )
    axes.axhline(rule.threshold_begin, color='#404040', lw=0.8, ls='--')
    axes.axhline(rule.threshold_end, color='#404040', lw=0.8, ls=':')
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([0, rule.threshold_end, rule.threshold_begin, 1])
    axes.tick_params(labelsize=7)
    fires = f' → {rule.firing_choice}' if rule.firing_choice else ''
    text = textwrap.shorten(f'{rule.id}: {rule.condition}{fires}', CHARACTERS, placeholder=' …')
    axes.set_title(text, fontsize=8, loc='left', pad=2)
