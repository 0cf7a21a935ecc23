# SPDX-License-Identifier: Apache-2.0
"""What diagnostics say about rules: levels by severity, doubts, late ones, broken files."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip('diagnostic_msgs')

from diagnostic_msgs.msg import DiagnosticStatus

from penguin_ros.ros.node.rule_diagnostics import RulesSnapshot, rule_findings
from penguin_ros.rules.event import RuleState, State
from penguin_ros.rules.rule import Rule, Severity

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
RULE = Rule('dog', 'Is there a dog?')
STATE = RuleState('dog', 'front', State.INACTIVE, '', 0.1, 0.0, 1, 2, 3, 1_000_000_000, True, '')


def levels(rule: Rule, *states: RuleState, problems: tuple[str, ...] = ()) -> dict[str, bytes]:
    snapshot = RulesSnapshot({rule.id: rule}, states, {'begin': 2}, problems)
    return {found.task: found.level for found in rule_findings(snapshot)}


def test_without_rules_nothing_is_said() -> None:
    assert not list(rule_findings(RulesSnapshot()))


@pytest.mark.parametrize(
    ('severity', 'level'), [(Severity.OK, OK), (Severity.WARN, WARN), (Severity.ERROR, ERROR)]
)
@pytest.mark.parametrize('state', [State.ACTIVE, State.HEALING])
def test_while_an_event_is_under_way_the_level_is_that_of_its_severity(
    severity: Severity, level: bytes, state: State
) -> None:
    rule = replace(RULE, severity=severity)
    assert levels(rule, replace(STATE, state=state))['rule dog'] == level
    assert levels(rule, STATE)['rule dog'] == OK


def test_the_worst_of_its_cameras_counts_and_each_is_told() -> None:
    rule = replace(RULE, severity=Severity.ERROR)
    rear = replace(STATE, camera='rear', state=State.ACTIVE, event='e')
    assert levels(rule, STATE, rear)['rule dog'] == ERROR
    found = list(rule_findings(RulesSnapshot({'dog': rule}, (STATE, rear))))[1]
    assert found.text == 'front: inactive; rear: active'
    assert found.values['rear: event'] == 'e' and found.values['front: evaluations'] == 3


def test_a_rule_that_is_unknown_or_late_is_a_warning_with_its_reason() -> None:
    unknown = replace(STATE, state=State.UNKNOWN, reason='it is too dark')
    assert levels(RULE, unknown) == {'rules': OK, 'rule dog': WARN}
    late = replace(STATE, keeps_period=False, reason='it is evaluated every 3 s')
    assert levels(RULE, late) == {'rules': WARN, 'rule dog': WARN}
    texts = [each.text for each in rule_findings(RulesSnapshot({'dog': RULE}, (late,)))]
    assert texts == [
        'evaluated too rarely: dog',
        'front: inactive, it is evaluated every 3 s',
    ]


def test_what_is_wrong_with_the_file_is_a_warning_even_without_rules() -> None:
    findings = list(rule_findings(RulesSnapshot(problems=('line 3: nonsense',))))
    assert [(each.task, each.level, each.text) for each in findings] == [
        ('rules', WARN, 'line 3: nonsense')
    ]
