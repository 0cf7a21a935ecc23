# SPDX-License-Identifier: Apache-2.0
"""The subtitles of `penguin caption` in the format SubRip."""

from __future__ import annotations

import io

from penguin_ros.cli.caption import SubRipWriter, timestamp


def test_times_are_hours_minutes_seconds_and_milliseconds() -> None:
    assert timestamp(0) == '00:00:00,000'
    assert timestamp(3_723_004_600_000) == '01:02:03,005'
    assert timestamp(59_999_600_000) == '00:01:00,000'


def test_cues_are_numbered_and_closed_by_a_blank_line() -> None:
    stream = io.StringIO()
    writer = SubRipWriter(stream)
    writer.write(0, 1_500_000_000, 'A bear.')
    writer.write(2_000_000_000, 3_000_000_000, 'It\n\nsleeps.')
    assert stream.getvalue() == (
        '1\n00:00:00,000 --> 00:00:01,500\nA bear.\n\n'
        '2\n00:00:02,000 --> 00:00:03,000\nIt\nsleeps.\n\n'
    )


def test_an_empty_caption_still_makes_a_valid_cue() -> None:
    stream = io.StringIO()
    SubRipWriter(stream).write(0, 1, ' \n ')
    assert stream.getvalue().splitlines()[2] == '…'
