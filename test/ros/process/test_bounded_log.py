# SPDX-License-Identifier: Apache-2.0
"""What comes again and again is logged at once, and then once a minute with its number."""

from __future__ import annotations

from penguin_ros.ros.process.bounded_log import CAUSES_KEPT, BoundedLog

SECOND = 10**9


class Lines(list):
    """A logger that keeps its lines."""

    def __getattr__(self, level):
        return lambda text: self.append((level, text))


def made():
    lines, clock = Lines(), [0]
    return lines, clock, BoundedLog(lines, lambda: clock[0])


def test_the_first_of_each_cause_is_logged_at_once_at_its_level():
    lines, _, log = made()
    log.info('a', 'one')
    log.warning('b', 'two')
    log.error('c', 'three')
    assert lines == [('info', 'one'), ('warning', 'two'), ('error', 'three')]


def test_a_flood_is_one_line_a_minute_with_the_number_of_times():
    lines, clock, log = made()
    for number in range(200 * 100):
        clock[0] = number * SECOND // 100
        log.warning('jump', f'it went back by {number}')
    assert [text for _, text in lines] == [
        'it went back by 0',
        'it went back by 6000 (6000 times in 60 s)',
        'it went back by 12000 (6000 times in 60 s)',
        'it went back by 18000 (6000 times in 60 s)',
    ]


def test_what_comes_again_after_a_long_time_is_logged_as_it_is():
    lines, clock, log = made()
    log.warning('a', 'first')
    clock[0] = 100 * SECOND
    log.warning('a', 'second')
    assert [text for _, text in lines] == ['first', 'second']


def test_causes_without_end_do_not_fill_the_memory():
    lines, _, log = made()
    for number in range(3 * CAUSES_KEPT):
        log.info(number, 'text')
    assert len(lines) == 3 * CAUSES_KEPT and len(log._last) <= CAUSES_KEPT
