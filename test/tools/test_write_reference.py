# SPDX-License-Identifier: Apache-2.0
"""The generated tables of docs/ are fresh, and a message without comments is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import write_reference
from reference_messages import interfaces, markdown, parsed

ROOT = Path(__file__).resolve().parents[2]
NEEDS_ROS = (
    'camera_node parameters',
    'memory_node parameters',
    'overlay_node parameters',
    'record_node parameters',
    'sim_camera parameters',
)
EXAMPLE = """# What this is.

# Values of `mode`: how it works.
# SLOW: step by step.
uint8 SLOW=0
# FAST: all at once.
uint8 FAST=1

# Number of <things> (count).
uint32 things
# SLOW or
# FAST.
uint8 mode
"""


@pytest.mark.parametrize('name', sorted(write_reference.BLOCKS))
def test_each_table_stands_in_one_page_and_is_fresh(name: str) -> None:
    if name in NEEDS_ROS:
        pytest.importorskip('rclpy', reason='no ROS 2 here')
    texts = [page.read_text(encoding='utf-8') for page in write_reference.pages()]
    texts = [text for text in texts if name in write_reference.names_in(text)]
    assert len(texts) == 1 and write_reference.names_in(texts[0]).count(name) == 1
    marks = rf'<!-- generated: {name} -->\n\n(.*?)\n\n<!-- end -->'
    shown = re.findall(marks, texts[0], re.DOTALL)
    assert shown == [write_reference.BLOCKS[name]()], 'type: python tools/write_reference.py'


def test_no_page_has_a_table_that_nothing_makes() -> None:
    marks = [
        name
        for page in write_reference.pages()
        for name in re.findall(r'<!-- generated: (.*?) -->', page.read_text(encoding='utf-8'))
    ]
    assert sorted(marks) == sorted(write_reference.BLOCKS)


def test_check_fails_and_names_the_page_when_it_is_stale_and_writing_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / 'docs' / 'page.md'
    page.parent.mkdir()
    page.write_text('before\n<!-- generated: messages -->\nold\n<!-- end -->\nafter\n')
    monkeypatch.setattr(write_reference, 'ROOT', tmp_path)
    monkeypatch.setattr(write_reference, 'BLOCKS', {'messages': lambda: 'new \\1'})
    assert write_reference.main(['--check']) == 1
    assert 'docs/page.md: stale' in capsys.readouterr().out
    assert 'old' in page.read_text(), 'a check writes nothing'
    assert write_reference.main([]) == 0
    text = 'before\n<!-- generated: messages -->\n\nnew \\1\n\n<!-- end -->\nafter\n'
    assert page.read_text() == text
    assert write_reference.main(['--check']) == 0


def test_every_field_and_constant_of_the_message_files_is_in_the_table() -> None:
    """The files are read here by other rules than in the tool: a line that is no comment declares
    something.
    """
    found = {interface.name: interface for interface in interfaces(ROOT / 'penguin_msgs')}
    files = [
        path
        for kind in ('msg', 'srv', 'action')
        for path in (ROOT / 'penguin_msgs' / kind).iterdir()
    ]
    assert sorted(found) == sorted(path.stem for path in files)
    for path in files:
        lines = [
            line.split()
            for line in path.read_text(encoding='utf-8').splitlines()
            if line.strip() and line[0] not in '#-'
        ]
        entries = [entry for part in found[path.stem].parts for entry in part]
        declared = [
            f'{entry.name}={entry.value}' if entry.value is not None else entry.name
            for entry in entries
        ]
        assert declared == [words[1] for words in lines]
        assert [entry.type for entry in entries] == [words[0] for words in lines]
        assert all(entry.comment.endswith('.') for entry in entries)


def test_a_message_becomes_tables_with_constants_first_and_nothing_lost_to_html() -> None:
    text = markdown([parsed('Example', 'msg', EXAMPLE)])
    assert text.startswith('### Example\n\n`penguin_msgs/msg/Example`. What this is.')
    constants, fields = text.index('| `FAST` | 1 | All at once. |'), text.index('| `things` |')
    assert text.index('Values of `mode`: how it works.') < constants < fields
    assert '| `things` | `uint32` | Number of &lt;things> (count). |' in text
    assert '| `mode` | `uint8` | SLOW or FAST. |' in text


@pytest.mark.parametrize(
    'text, named',
    [
        ('# What.\n\nuint8 bare\n', 'uint8 bare'),
        ('# What.\n\n# One.\nuint8 one\n\nuint8 two\n', 'uint8 two'),
        ('uint8 first\n\n# One.\nuint8 one\n', 'does not begin with a comment'),
    ],
)
def test_a_field_or_file_without_a_comment_is_refused(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parsed('Example', 'msg', text)


def test_a_question_has_the_same_fields_whichever_way_it_is_asked() -> None:
    page = (ROOT / 'docs' / 'interfaces.md').read_text(encoding='utf-8')
    assert page.count(': the fields of [Question](#question).') == 2, 'one service, one action'
