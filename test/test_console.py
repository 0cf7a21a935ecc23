# SPDX-License-Identifier: Apache-2.0
"""What people and scripts see of a command: texts that grow, and JSON in files."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from penguin_ros.console import (
    GrowingText,
    can_draw,
    clock,
    progress_bar,
    use_any_encoding,
    write_json,
)
from penguin_ros.errors import PenguinError


def test_each_step_prints_only_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    text = GrowingText()
    for so_far in ('A', 'A bear', 'A bear sleeps'):
        text.show(so_far)
    text.finish('A bear sleeps.')
    assert capsys.readouterr().out == 'A bear sleeps.\n'


def test_a_late_step_prints_nothing_again(capsys: pytest.CaptureFixture[str]) -> None:
    text = GrowingText()
    text.show('A bear')
    text.show('A')
    text.finish('A bear')
    assert capsys.readouterr().out == 'A bear\n'


def test_times_are_minutes_seconds_and_tenths() -> None:
    assert [clock(seconds) for seconds in (0.0, 59.96, 61.25)] == ['00:00.0', '01:00.0', '01:01.2']


def test_json_is_written_and_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / 'record.json', {'a': 'ä'})
    assert json.loads((tmp_path / 'record.json').read_text(encoding='utf-8')) == {'a': 'ä'}
    with pytest.raises(PenguinError, match='cannot be written'):
        write_json(tmp_path, {})


def test_a_library_that_printed_no_text_does_not_stop_who_reads_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = io.TextIOWrapper(io.BytesIO(b'Got: \xe6\x7f.'), encoding='utf-8')
    monkeypatch.setattr(sys, 'stderr', kept)
    use_any_encoding()
    assert kept.read() == 'Got: \\xe6\x7f.'


@pytest.mark.parametrize('encoding', ['ascii', 'iso-8859-1', 'utf-8'])
def test_whatever_the_encoding_lacks_is_printed_as_an_escape_and_json_stays_json(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'ä … 北 🐧 \udcff'
    written = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(written, encoding=encoding))
    use_any_encoding()
    print(json.dumps(text, ensure_ascii=False), flush=True)
    line = written.getvalue().decode(encoding)
    assert json.loads(line) == text
    assert ('ä' in line) == (encoding != 'ascii') and ('北' in line) == (encoding == 'utf-8')


@pytest.mark.parametrize(
    ('term', 'draws'), [('xterm', True), ('dumb', False), ('unknown', False), ('', False)]
)
def test_only_a_terminal_that_can_draw_gets_a_bar(
    term: str, draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv('TERM', term)
    monkeypatch.setattr(sys, 'stderr', Terminal())
    assert can_draw(sys.stderr) == draws and not can_draw(io.StringIO())
    with progress_bar('work', 2.0) as show:
        show(1.0, 'half')
    assert bool(sys.stderr.getvalue()) == draws
