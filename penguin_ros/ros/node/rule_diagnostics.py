# SPDX-License-Identifier: Apache-2.0
"""What diagnostics say about rules: an entry for each of them, with the level of its severity while
an event is under way, and one for all together. Values only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.event import RuleState, State
from penguin_ros.rules.rule import Rule, Severity

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
_LEVELS = {Severity.OK: OK, Severity.WARN: WARN, Severity.ERROR: DiagnosticStatus.ERROR}
_UNDER_WAY = State.ACTIVE, State.HEALING


@dataclass(frozen=True)
class RulesSnapshot:
    """The rules by id, how they are doing, events so far by kind, and what is wrong with their
    files.
    """

    rules: Mapping[str, Rule] = field(default_factory=dict)
    states: tuple[RuleState, ...] = ()
    events: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """An entry: its `task`, level, text and values."""

    task: str
    level: bytes
    text: str
    values: Mapping[str, Any]


def rule_findings(snapshot: RulesSnapshot) -> Iterator[Finding]:
    """Yields an entry per rule, and one for all; none where there are neither rules nor
    problems.
    """
    if not snapshot.rules and not snapshot.problems:
        return
    late = [state.rule for state in snapshot.states if not state.keeps_period]
    texts = [*snapshot.problems]
    if late:
        texts.append(f'evaluated too rarely: {", ".join(dict.fromkeys(late))}')
    yield Finding(
        'rules',
        WARN if texts else OK,
        '; '.join(texts) or f'{len(snapshot.rules)} rules',
        {
            'rules': len(snapshot.rules),
            'events under way': sum(bool(state.event) for state in snapshot.states),
            **{f'events: {kind}': count for kind, count in sorted(snapshot.events.items())},
        },
    )
    for name, rule in snapshot.rules.items():
        yield _finding(rule, [state for state in snapshot.states if state.rule == name])


def _finding(rule: Rule, states: Iterable[RuleState]) -> Finding:
    level, texts, values = OK, [], dict[str, Any](condition=rule.condition)
    for state in states:
        level = max(level, _level(rule, state))
        texts.append(f'{state.camera}: {_text(state)}')
        values |= _values(state)
    return Finding(f'rule {rule.id}', level, '; '.join(texts) or 'it watches no camera', values)


def _level(rule: Rule, state: RuleState) -> bytes:
    if state.state in _UNDER_WAY:
        return _LEVELS[Severity(rule.severity)]
    return WARN if state.state is State.UNKNOWN or not state.keeps_period else OK


def _text(state: RuleState) -> str:
    name = state.state.name.lower()
    return f'{name}, {state.reason}' if state.reason else name


def _values(state: RuleState) -> dict[str, Any]:
    achieved_s = state.achieved_period_ns / NANOSECONDS
    return {
        f'{state.camera}: {name}': value
        for name, value in {
            'state': state.state.name.lower(),
            'probability': f'{state.probability:.3f}',
            'other mass': f'{state.other_mass:.3f}',
            'evaluations': state.evaluations,
            'achieved period [s]': f'{achieved_s:.2f}',
            'event': state.event,
        }.items()
    }
