# SPDX-License-Identifier: Apache-2.0
"""What one browser may cost: pictures it reads too slowly, questions it asks too often, messages
that are none; and what is written down of it.
"""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penguin_ros.web_console.audit import MAX_LINE, AuditLog
from penguin_ros.web_console.commands import FIELDS, MAX_DEPTH_TEXT, BadCommand, Command, parsed
from penguin_ros.web_console.hub import MAX_BYTES, MAX_ENTRIES, PAGE, TIME_LINE, Hub
from penguin_ros.web_console.rate_limit import RateLimit
from penguin_ros.web_console.send_queue import ReaderTooSlow, SendQueue


def test_of_pictures_the_newest_of_each_camera_waits_and_the_others_are_counted() -> None:
    async def run() -> list[str | bytes]:
        queue = SendQueue()
        for number in range(10):
            queue.put_picture('front', b'%d' % number)
            queue.put_text(f'text {number}')
        queue.put_picture('rear', b'rear')
        assert queue.pictures_dropped == 9
        return [await queue.next() for _ in range(12)]

    sent = asyncio.run(run())
    first = b'\x00\x00\x00\x01'
    assert sent == [*(f'text {number}' for number in range(10)), first + b'9', first + b'rear']


def test_two_pictures_of_a_camera_are_on_their_way_until_one_is_drawn() -> None:
    async def run() -> None:
        queue = SendQueue()
        for number in range(2):
            queue.put_picture('front', b'%d' % number)
            await queue.next()
        queue.put_picture('front', b'2')
        queue.put_text('a word')
        assert await queue.next() == 'a word', 'words do not wait for pictures'
        waiting = asyncio.ensure_future(queue.next())
        for lie in (-1, 0, 3, 2**40):
            queue.note_drawn('front', lie)
        await asyncio.sleep(0)
        assert not waiting.done(), 'nobody draws what was not sent'
        queue.put_picture('rear', b'r')
        assert (await waiting)[4:] == b'r', 'another camera goes on'
        queue.note_drawn('front', 2)
        assert await queue.next() == b'\x00\x00\x00\x032'

    asyncio.run(run())


def test_words_are_never_dropped_a_reader_that_stopped_is_told_so() -> None:
    queue = SendQueue(max_bytes=10)
    queue.put_text('12345')
    with pytest.raises(ReaderTooSlow):
        queue.put_text('678901')


def test_a_client_asks_in_bursts_and_at_a_rate_and_others_are_not_held_back() -> None:
    now = [0.0]
    limit = RateLimit(0.5, 3, lambda: now[0], most_clients=2)
    assert [limit.wait_s('a') for _ in range(5)] == [0.0, 0.0, 0.0, 2.0, 2.0]
    assert limit.wait_s('b') == 0.0
    now[0] = 2.0
    assert [limit.wait_s('a') for _ in range(2)] == [0.0, 2.0]


def test_the_audit_is_one_line_each_for_its_owner_alone(tmp_path: Path) -> None:
    path, told = tmp_path / 'audit.jsonl', list[str]()
    audit = AuditLog(path, told.append, lambda: 'now')
    audit.write('ab12', '127.0.0.1', 'ask', {'fields': {'question': 'a\n{"x": 1}\x1b[31m'}})
    audit.write('ab12', '127.0.0.1', 'ask', {'fields': {'question': 'x' * 9000}})
    lines = path.read_text().splitlines()
    assert len(lines) == 2 and json.loads(lines[0])['what'] == 'ask' and '\x1b' not in lines[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and not told
    broken = AuditLog(tmp_path / 'no' / 'folder', told.append, lambda: 'now')
    broken.write('a', 'b', 'ask', {})
    broken.write('a', 'b', 'ask', {})
    assert broken.failures == 2 and len(told) == 3


def test_a_long_question_in_any_script_is_still_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / 'audit.jsonl'
    audit = AuditLog(path, print, lambda: 'now')
    for question in ('x' * 9000, '门开着吗？' * 200, '"\\' * 2000):
        audit.write('ab12', '127.0.0.1', 'ask', {'fields': {'node': '/a', 'question': question}})
    lines = path.read_text().splitlines()
    assert len(lines) == 3 and all(len(line) <= MAX_LINE for line in lines)
    for line in lines:
        said = json.loads(line)
        assert (said['who'], said['from'], said['what']) == ('ab12', '127.0.0.1', 'ask')
        assert len(said['cut']) > 200 and said['cut'].startswith('{"fields": {"node": "/a", ')


def test_a_browser_that_comes_later_hears_nothing_of_parts_of_a_node_that_is_gone() -> None:
    hub, seen = Hub(lambda: 5.0), list[dict[str, Any]]()
    for name in ('/robot: status', '/robot: camera front', '/robot2: status'):
        hub.publish('diagnostics', name, {'name': name})
    hub.forget('/robot')
    hub.join(lambda text: seen.append(json.loads(text)))
    assert [one['name'] for one in seen if one['type'] == 'diagnostics'] == ['/robot2: status']


def test_a_browser_that_comes_later_gets_newest_states_and_the_end_of_the_time_line() -> None:
    hub, seen = Hub(lambda: 5.0), list[dict[str, Any]]()
    for number in range(MAX_ENTRIES + 5):
        hub.publish('caption', '/penguin', {'caption': {'text': f'No. {number}'}})
        hub.publish('status', '/penguin', {'n': number})
    hub.publish('status', '/other', {'n': 0})
    hub.forget('/other')
    leave = hub.join(lambda text: seen.append(json.loads(text)))
    assert [one['n'] for one in seen if one['type'] == 'status'] == [MAX_ENTRIES + 4]
    captions = [one['caption']['text'] for one in seen if one['type'] == 'caption']
    assert captions == [f'No. {MAX_ENTRIES + 5 - PAGE + n}' for n in range(PAGE)]
    assert seen[-1] == {'type': 'line', 'has_more': True} and seen[-2]['heard'] == 5000
    leave()
    hub.publish('caption', '/penguin', {'caption': {'text': 'late'}})
    assert hub.browsers == 0 and seen[-1]['type'] == 'line'


def test_the_time_line_is_searched_page_by_page_and_bounded_in_number_and_size() -> None:
    hub = Hub(lambda: 5.0)
    for number in range(MAX_ENTRIES + 5):
        text = 'a red BOX' if number % 2 else 'a ball'
        hub.publish('caption', '/penguin', {'caption': {'text': text, 'camera': 'front'}})
    hub.publish('event', '/penguin', {'event': {'rule': 'box', 'condition': 'Is there a box?'}})
    found, has_more = hub.found(0, 'box', ['caption'])
    assert len(found) == PAGE and has_more and all('red box' in one.words for one in found)
    older, _ = hub.found(found[-1].number, 'box', ['caption'])
    assert older[0].number == found[-1].number - 2
    assert [one.kind for one in hub.found(0, 'is there', TIME_LINE)[0]] == ['event']
    everything, before = 0, 0
    while page := hub.found(before, '', TIME_LINE)[0]:
        everything, before = everything + len(page), page[-1].number
    assert everything == MAX_ENTRIES
    for _ in range(20):
        hub.publish('answer', '/penguin', {'answer': {'text': 'x' * (MAX_BYTES // 10)}})
    kept = hub.found(0, '', TIME_LINE)[0]
    assert 0 < sum(len(one.text) for one in kept) <= MAX_BYTES


@pytest.mark.parametrize(
    'text',
    [
        '',
        'null',
        '[]',
        '{"id": 1}',
        '{"id": true, "do": "ask"}',
        '{"id": -1, "do": "ask"}',
        '{"id": 1, "do": "shutdown"}',
        '{"id": 1, "do": ["ask"]}',
        '{"id": 1, "do": "ask", "question": 5}',
        '{"id": 1, "do": "ask", "__class__": "x"}',
        '{"id": 1, "do": "ask", "last": true}',
        '{"id": 1, "do": "ask", "last": NaN}',
        '{"id": 1, "do": "ask", "last": 1e400}',
        '[' * 60000,
        'x' * (MAX_DEPTH_TEXT + 1),
    ],
)
def test_a_message_that_is_no_command_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadCommand) as caught:
        parsed(text)
    assert 5 < len(str(caught.value)) < 300


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(['id', 'do', 'node', 'last', 'rule', 'x']), json_values))
def test_any_json_is_a_command_or_refused(message: dict[str, Any]) -> None:
    try:
        command = parsed(json.dumps(message))
    except BadCommand:
        return
    assert isinstance(command, Command) and set(command.fields) <= set(FIELDS[command.name])
