# SPDX-License-Identifier: Apache-2.0
"""The report keeps to its length and takes out what belongs to a machine and its user."""

from __future__ import annotations

from penguin_ros.board.profile import BoardProfile
from penguin_ros.board.report import MAX_COLUMNS, MAX_LINES, lines, private_words, without_places
from penguin_ros.board.result import DONE, FAULT, OK, SKIPPED, StepResult, Verdict


def test_words_of_the_machine_are_taken_out_wherever_they_stand() -> None:
    words = {'orin-lab': 'HOST', 'ada': 'USER', '/home/ada/engines/orin': 'BUNDLE'}
    plain = {
        'why': '/home/ada/engines/orin/tensorrt/x.plan does not load on orin-lab',
        'list': ['see /var/log/syslog, ada', 3, None, 1.5],
        'rate': '68 GB/s and 3 of 4 / 5, adapter',
    }
    assert without_places(plain, words) == {
        'why': 'BUNDLE/tensorrt/x.plan does not load on HOST',
        'list': ['see syslog, USER', 3, None, 1.5],
        'rate': '68 GB/s and 3 of 4 / 5, adapter',
    }


def test_a_bundle_is_taken_out_as_it_was_typed_and_as_it_lies() -> None:
    words = private_words('engines/orin')
    assert words['engines/orin'] == 'BUNDLE'
    assert sum(name == 'BUNDLE' for name in words.values()) == 2


def test_the_text_has_no_more_lines_than_it_may_and_faults_come_first() -> None:
    verdicts = [Verdict('bad', FAULT, 'broken ' * 50, 'mend it')]
    verdicts += [Verdict(f'good {number}', OK, 'fine') for number in range(60)]
    results = {'identity': StepResult('identity', DONE), 'soak': StepResult('soak', SKIPPED)}
    profile = BoardProfile('int4', reasons=('linears int4: fast',))
    text = lines(results, verdicts, profile)
    assert len(text) == MAX_LINES and all(len(line) <= MAX_COLUMNS for line in text)
    assert text[0] == '1 of 2 steps done; skipped: soak'
    assert text[1].startswith('FAULT bad: broken')
    assert text[-3:] == [
        'and 35 more in the file',
        'choice: --precision int4',
        '  linears int4: fast',
    ]
