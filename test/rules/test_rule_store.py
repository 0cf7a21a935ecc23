# SPDX-License-Identifier: Apache-2.0
"""Rules are kept in a YAML file that people edit too: what is broken costs itself only, what is
changed leaves the rest as it was.
"""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import SystemRefusal, UnusableRuleFile
from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.event import Evaluation, EventKind
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.rule_entry import entry_of, rule_from
from penguin_ros.rules.rule_set import RuleSet
from penguin_ros.rules.rule_store import RuleStore
from penguin_ros.rules.rule_text import cut, with_rule, without_rule
from penguin_ros.settings import with_values

HAND_WRITTEN = """\
# The robot of hall 3.

rules:
  # Boxes must not lie in the way.
  - id: red-box      # the old name was box
    condition: "Is there a red box: yes or no?"   # words of the foreman
    cameras: [front, rear]
    # Twice a second.
    period: 0.5
    severity: error

  - id: door
    condition: >
      The door is open,
      wide.
    choices: [yes, no, 12:30]
    firing_choice: yes
    valid_times:
    - mon-fri 08:00-18:00
    - 22:00-06:00
# The end.
"""


def store_of(tmp_path: Path, text: str | bytes) -> RuleStore:
    path = tmp_path / 'rules.yaml'
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return RuleStore(path)


def loaded(store: RuleStore, **values: object) -> tuple[RuleSet, list[str]]:
    rules = RuleSet(with_values(PenguinConfig(), values), ['front'])
    return rules, store.load_into(rules, 0)[0]


def ids(rules: RuleSet) -> list[str]:
    return [rule.id for rule in rules.rules()]


def rules_in(text: str) -> list[Rule]:
    return [entry.rule() for entry in cut(text).entries]


def test_a_file_written_by_hand_is_read_as_its_author_meant(tmp_path: Path) -> None:
    rules, problems = loaded(store_of(tmp_path, HAND_WRITTEN))
    assert problems == [] and ids(rules) == ['door', 'red-box']
    door, red = rules.rules()
    assert red.condition == 'Is there a red box: yes or no?' and red.cameras == ('front', 'rear')
    assert (red.period_ns, red.severity) == (NANOSECONDS // 2, 2)
    assert door.condition == 'The door is open, wide.'
    assert (door.choices, door.firing_choice) == (('yes', 'no', '12:30'), 'yes')
    assert door.valid_times == ('mon-fri 08:00-18:00', '22:00-06:00')
    assert rules.origin('door') == str(tmp_path / 'rules.yaml')


def test_a_change_leaves_comments_and_all_other_lines_as_they_were(tmp_path: Path) -> None:
    store = store_of(tmp_path, HAND_WRITTEN)
    red = rules_in(HAND_WRITTEN)[0]
    store.keep_rule(dataclasses.replace(red, condition='Is it?', severity=0, wants_picture=True))
    expected = HAND_WRITTEN.replace('"Is there a red box: yes or no?"', '"Is it?"').replace(
        '    severity: error\n', '    wants_picture: true\n'
    )
    assert store.path.read_text() == expected
    store.keep_rule(rules_in(HAND_WRITTEN)[1])
    assert store.path.read_text() == expected, 'nothing to change'
    store.keep_rule(Rule('new', 'x', period_ns=NANOSECONDS))
    new = '  - id: new\n    condition: x\n    period: 1\n'
    expected = expected.replace('# The end', new + '# The end')
    assert store.path.read_text() == expected
    store.drop_rule('red-box')
    text = store.path.read_text()
    assert 'red' not in text and 'way' not in text and '# The robot' in text and '# The end' in text


BROKEN = [
    '  - id: bad\n    condition: "no end\n',
    '  - id: bad\n    condition: [a\n',
    '  - id: bad\n   condition: x\n',
    '  - id: bad\n\tcondition: x\n',
    '  - id: bad\n',
    '  - condition: x\n',
    '  - just words\n',
    '  -\n',
    '  - id: bad\n    condition: x\n    colour: red\n',
    '  - id: bad\n    condition: x\n    condition: y\n',
    '  - id: bad\n    condition: x\n    period: often\n',
    '  - id: bad\n    condition: x\n    period: [1]\n',
    '  - id: bad\n    condition: x\n    period: .inf\n',
    '  - id: bad\n    condition: x\n    confirm_count: 1.5\n',
    '  - id: bad\n    condition: x\n    confirm_count: 5\n    confirm_window: 2\n',
    '  - id: bad\n    condition: x\n    threshold_begin: 1.5\n',
    '  - id: bad\n    condition: x\n    threshold_begin: 0.3\n    threshold_end: 0.6\n',
    '  - id: bad\n    condition: x\n    severity: awful\n',
    '  - id: bad\n    condition: x\n    severity: 3\n',
    '  - id: bad\n    condition: x\n    is_disabled: perhaps\n',
    '  - id: bad\n    condition: x\n    valid_times: noon\n',
    '  - id: bad\n    condition: x\n    choices: [a]\n    firing_choice: a\n',
    '  - id: bad\n    condition: x\n    choices: [a, A]\n    firing_choice: a\n',
    '  - id: bad\n    condition: x\n    choices: [a, b]\n    firing_choice: c\n',
    '  - id: bad\n    condition: x\n    firing_choice: c\n',
    '  - id: bad\n    condition: x\n    cameras: {a: b}\n',
    '  - id: bad\n    condition: &a x\n    firing_choice: *a\n',
    '  - id: bad\n    condition: !!python/object/apply:os.system [ls]\n',
    '  - id: bad name\n    condition: x\n',
    '  - id: bad\n    condition: "\x07 \t"\n',
    '  - id: bad\n    condition: ' + 'x' * 1_000_000 + '\n',
    '  - id: bad\n    condition: ' + 'y ' * 3000 + '\n',
    '  - id: bad\n    condition: ' + '[' * 300 + '\n',
    '  - id: first\n    condition: twice\n',
    '    id: bad\n    condition: without a dash\n',
    'other_key: 1\n',
    '<<<<<<< HEAD\n',
]
FIRST = '  - id: first\n    condition: one\n'
LAST = '  - id: last\n    condition: two\n'


@pytest.mark.parametrize('place', ['middle', 'end', 'elsewhere'])
@pytest.mark.parametrize('broken', BROKEN, ids=lambda text: text.strip()[:60])
def test_a_broken_entry_is_a_named_error_and_costs_no_other_rule(
    tmp_path: Path, broken: str, place: str
) -> None:
    if place == 'elsewhere' and not broken.startswith(('  - id', '  - condition')):
        pytest.skip('it cannot be told from a list inside of the entry above')
    text = {
        'middle': 'rules:\n' + FIRST + broken + LAST,
        'end': 'rules:\n' + FIRST + LAST + broken,
        'elsewhere': 'rules:\n' + FIRST.replace('  - ', '- ').replace('    ', '  ') + broken + LAST,
    }[place]
    store = store_of(tmp_path, text)
    rules, problems = loaded(store)
    assert ids(rules) == ['first', 'last']
    assert len(problems) == 1 and 'rules.yaml, line ' in problems[0] and len(problems[0]) < 2000
    # The node can still add and remove rules, and what is broken stays for its author.
    store.keep_rule(Rule('added', 'three'))
    store.drop_rule('last')
    rules, problems = loaded(store)
    assert 'added' in ids(rules) and 'last' not in ids(rules) and len(problems) == 1
    assert broken in store.path.read_text()


def test_bytes_that_are_no_text_cost_their_own_rule_and_stay(tmp_path: Path) -> None:
    bad = b'  - id: bad\n    condition: \xff\xfe\n'
    store = store_of(tmp_path, b'\xef\xbb\xbfrules:\r\n' + FIRST.encode() + bad + LAST.encode())
    rules, problems = loaded(store)
    assert ids(rules) == ['first', 'last'] and len(problems) == 1
    store.keep_rule(Rule('added', 'Größe?'))
    assert bad in store.path.read_bytes() and 'Größe?'.encode() in store.path.read_bytes()


def test_a_file_cut_anywhere_keeps_the_rules_before_the_cut(tmp_path: Path) -> None:
    whole = rules_in(HAND_WRITTEN)[0]
    second = HAND_WRITTEN.index('  - id: door')
    for end in range(0, len(HAND_WRITTEN), 7):
        text = HAND_WRITTEN[:end]
        if 'rules:\n' not in text:
            continue
        rules, _ = loaded(store_of(tmp_path, text))
        assert end < second or 'red-box' in ids(rules), end
        assert end < second or rules.rule('red-box').condition == whole.condition


@pytest.mark.parametrize(
    'text', ['[1, 2\n', 'rules: {a: b}\n', 'words\n', '- id: x\n', 'rules: [{id: a}]\n']
)
def test_a_file_that_holds_something_else_is_refused_and_stays(tmp_path: Path, text: str) -> None:
    store = store_of(tmp_path, text)
    with pytest.raises(UnusableRuleFile, match='line 1 stands before the rules'):
        loaded(store)
    with pytest.raises(UnusableRuleFile):
        store.keep_rule(Rule('a', 'b'))
    assert store.path.read_text() == text


@pytest.mark.parametrize(
    'text', ['', '\n', '# nothing\n', 'rules:\n', 'rules: []  # none', '---\n']
)
def test_a_file_without_rules_takes_the_first_one(tmp_path: Path, text: str) -> None:
    store = store_of(tmp_path, text)
    store.keep_rule(Rule('a', 'b?'))
    rules, problems = loaded(store)
    assert ids(rules) == ['a'] and problems == []
    store.drop_rule('a')
    assert loaded(store)[1] == [] and ids(loaded(store)[0]) == []
    store.keep_rule(Rule('c', 'd?'))
    assert ids(loaded(store)[0]) == ['c']


def test_a_thousand_rules_are_refused_with_the_number(tmp_path: Path) -> None:
    entries = ''.join(f'  - id: r{index}\n    condition: x\n' for index in range(1000))
    rules, problems = loaded(store_of(tmp_path, 'rules:\n' + entries))
    assert len(rules.rules()) == 100
    (problem,) = problems
    assert '900 rules are left out' in problem and 'there are 100 rules' in problem


def test_a_file_that_is_too_large_or_may_not_be_read_is_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, '#' * (8 * 2**20 + 1))
    with pytest.raises(UnusableRuleFile, match='bytes'):
        loaded(store)
    with pytest.raises(SystemRefusal):
        loaded(RuleStore(tmp_path))
    with pytest.raises(SystemRefusal):
        RuleStore(tmp_path / 'rules.yaml' / 'below' / 'x.yaml').keep_rule(Rule('a', 'b'))


TEXTS = st.text(max_size=40)
ENTRIES = st.builds(
    Rule,
    st.sampled_from(['a', 'b-1', 'yes', '0', 'null']),
    TEXTS,
    cameras=st.lists(TEXTS, max_size=3).map(tuple),
    choices=st.lists(TEXTS, max_size=3).map(tuple),
    firing_choice=TEXTS,
    threshold_begin=st.integers(0, 10**6).map(lambda number: number / 10**6),
    confirm_count=st.integers(0, 100),
    period_ns=st.integers(0, 7 * 86400 * NANOSECONDS),
    cooldown_ns=st.integers(0, 10**6).map(lambda number: number * NANOSECONDS),
    valid_times=st.lists(TEXTS, max_size=2).map(tuple),
    severity=st.integers(0, 2),
    is_disabled=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ENTRIES, max_size=6), st.randoms(use_true_random=False), st.booleans())
def test_whatever_is_set_and_removed_is_what_the_file_says(
    changes: list[Rule], source: random.Random, is_commented: bool
) -> None:
    """Against a dictionary; comments and a broken entry stand between the rules and stay."""
    text = 'rules:\n# a\n  - id: broken\n    condition: [\n  # b\n' if is_commented else ''
    expected: dict[str, Rule] = {}
    for rule in changes:
        # A lone surrogate is no UTF-8; checked rules hold none, and no control characters.
        rule = rule_from(_safe(entry_of(rule)))
        text = with_rule(text, rule)
        expected[rule.id] = rule
        if source.random() < 0.2:
            gone = source.choice(sorted(expected))
            text = without_rule(text, gone)
            del expected[gone]
    found = [entry for entry in cut(text).entries if 'broken' not in entry.lines[0]]
    assert {entry.rule().id: entry_of(entry.rule()) for entry in found} == {
        name: entry_of(rule) for name, rule in expected.items()
    }
    assert not is_commented or ('# a\n' in text and '  # b\n' in text and 'condition: [\n' in text)


def _safe(entry: dict[str, object]) -> dict[str, object]:
    from penguin_ros.text import cleaned

    return {
        key: [cleaned(one) for one in value] if isinstance(value, list) else cleaned(str(value))
        for key, value in entry.items()
    }


def test_an_event_that_was_under_way_goes_on_after_a_restart(tmp_path: Path) -> None:
    store = store_of(tmp_path, 'rules:\n' + FIRST + LAST)
    rules, _ = loaded(store)
    for rule in rules.rules():
        for second in (0, 1):
            rules.observe(rule, 'front', Evaluation(second * NANOSECONDS, 0.9))
    store.save_state(rules.saved())
    store.keep_rule(Rule('last', 'another condition'))
    again = RuleSet(PenguinConfig(), ['front'])
    problems, events = store.load_into(again, 0)
    assert problems == [] and [(event.rule, event.kind) for event in events] == [
        ('last', EventKind.LOST)
    ]
    first = again.rule('first')
    (still,) = again.observe(first, 'front', Evaluation(5 * NANOSECONDS, 0.9))
    assert still.kind is EventKind.STILL and still.id == rules.states()[0].event


@pytest.mark.parametrize('text', ['', '{}', '[{}]', '[1', '[{"rule": 1}]', '\xff', '[' * 100_000])
def test_a_damaged_state_is_a_problem_and_the_rules_stay(tmp_path: Path, text: str) -> None:
    store = store_of(tmp_path, 'rules:\n' + FIRST)
    store.state_path.write_bytes(text.encode('latin-1'))
    rules, problems = loaded(store)
    assert ids(rules) == ['first'] and len(problems) == 1 and 'state.json' in problems[0]
