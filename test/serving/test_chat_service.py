# SPDX-License-Identifier: Apache-2.0
"""Over HTTP the model sees what it sees in the node, and clients get what the protocol says."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.live_pipeline import MS, START, TEXT, past
from support.served_chat import ServedChat, base64_of, image_part, picture, text_part, wait_until
from support.stepped_jobs import LIVENESS_SECONDS

from penguin_ros.media.compressed import decode_compressed
from penguin_ros.request import Answer
from penguin_ros.serving.chat_service import ServiceLimits

QUESTION = 'What is there?'


@pytest.fixture(scope='module')
def served(tiny_checkpoint: Path) -> Iterator[ServedChat]:
    with ServedChat(tiny_checkpoint) as served:
        yield served


def clip_part(
    answer: Answer, served: ServedChat, sizes: list[tuple[int, int]] | None = None
) -> dict[str, Any]:
    """The frames that an answer of the node was based on, as a client sends them."""
    frames: list[dict[str, Any]] = []
    for index, each in enumerate(answer.evidence.frames):
        level = 100 + (each.stamp_ns - START) // MS // 100 % 100
        frame = {'stamp_ns': str(each.stamp_ns), 'image': base64_of(picture(level))}
        if sizes:
            frame |= {'type': each.type.name.lower(), 'size': sizes[index]}
        frames.append(frame)
    return {'type': 'penguin_clip', 'penguin_clip': {'camera': 'front', 'frames': frames}}


def cached(reply: dict[str, Any]) -> int:
    tokens: int = reply['usage']['prompt_tokens_details']['cached_tokens']
    return tokens


# --- what the model sees --------------------------------------------------------------------------


def test_a_clip_makes_the_prompt_of_the_same_clip_in_the_node(served: ServedChat) -> None:
    served.live.frames(0, 500, 1000, 1500)
    in_node = served.live.answer('in-node', QUESTION, camera='front', interval=past(0, 1500))
    assert len(in_node.evidence.frames) == 4
    status, reply = served.ask(clip_part(in_node, served), text_part(QUESTION))
    assert status == 200
    assert reply['choices'][0]['message']['content'] == in_node.text  # it depends on every position
    evidence, stats = reply['penguin']['evidence'], in_node.evidence.stats
    assert [each['stamp_ns'] for each in evidence['frames']] == [
        each.stamp_ns for each in in_node.evidence.frames
    ]
    assert [each['type'] for each in evidence['frames']] == [
        each.type.name.lower() for each in in_node.evidence.frames
    ]
    assert reply['usage']['prompt_tokens'] == stats.prompt_tokens
    # What the node computed is found again, so the positions are the same.
    assert cached(reply) >= stats.prompt_tokens - 2 and evidence['stats']['reused_frames'] == 4


def test_a_plan_of_the_client_is_kept(served: ServedChat) -> None:
    frames = [
        {'stamp_ns': START, 'image': base64_of(picture(1)), 'type': 'key', 'size': [56, 84]},
        {
            'stamp_ns': START + 5,
            'image': base64_of(picture(2, (28, 28))),
            'type': 'intermediate',
            'size': [28, 28],
        },
    ]
    part = {'type': 'penguin_clip', 'penguin_clip': {'frames': frames, 'is_truncated': True}}
    status, reply = served.ask(part, text_part(QUESTION))
    assert status == 200
    evidence = reply['penguin']['evidence']
    assert evidence['stats']['visual_tokens'] == 2 * 3 + 1 and evidence['is_truncated']
    assert [each['type'] for each in evidence['frames']] == ['key', 'intermediate']
    frames[1]['size'] = [27, 28]
    status, reply = served.ask(part, text_part(QUESTION))
    assert status == 400 and 'multiples of 28' in reply['error']['message']


def test_frames_of_a_video_url_are_a_clip_with_their_times(served: ServedChat) -> None:
    pictures = [picture(level) for level in (10, 90, 200)]
    url = 'data:video/jpeg;base64,' + ','.join(base64_of(each) for each in pictures)
    part = {'type': 'video_url', 'video_url': {'url': url}}
    options = {'video': {'fps': 2.0, 'frames_indices': [0, 3, 4], 'num_frames': -1}}
    status, as_video = served.ask(part, text_part(QUESTION), media_io_kwargs=options)
    assert status == 200
    frames = [
        {'stamp_ns': START + ms * MS, 'image': base64_of(each)}
        for ms, each in zip((0, 1500, 2000), pictures, strict=True)
    ]
    clip = {'type': 'penguin_clip', 'penguin_clip': {'frames': frames}}
    status, as_clip = served.ask(clip, text_part(QUESTION))
    assert as_clip['choices'][0]['message'] == as_video['choices'][0]['message']
    assert cached(as_clip) >= as_clip['usage']['prompt_tokens'] - 2
    status, untimed = served.ask(part, text_part(QUESTION))
    assert untimed['usage']['prompt_tokens'] < as_video['usage']['prompt_tokens']


def test_a_conversation_goes_on_from_what_was_computed(served: ServedChat) -> None:
    first = {'role': 'user', 'content': [image_part(picture(33)), text_part(QUESTION)]}
    system = {'role': 'system', 'content': 'Be brief.'}
    _, reply = served.post({'model': served.model, 'messages': [system, first]})
    said = reply['choices'][0]['message']
    more = [system, first, said, {'role': 'user', 'content': 'And what else?'}]
    status, second = served.post({'model': served.model, 'messages': more})
    assert status == 200 and second['usage']['prompt_tokens'] > reply['usage']['prompt_tokens']
    assert cached(second) > 6 and second['penguin']['evidence']['stats']['reused_frames'] == 1


def test_a_picture_is_sent_once_and_named_by_its_uuid(served: ServedChat) -> None:
    pictures = [image_part(picture(level), f'uuid-{level}') for level in (60, 61)]
    status, sent = served.ask(*pictures, text_part(QUESTION))
    assert status == 200
    named = [image_part(None, 'uuid-60'), image_part(None, 'uuid-61')]
    status, again = served.ask(*named, text_part(QUESTION))
    assert status == 200 and again['choices'][0]['message'] == sent['choices'][0]['message']
    assert again['penguin']['evidence']['stats']['reused_frames'] == 2
    status, refused = served.ask(*named, image_part(None, 'uuid-62'), text_part(QUESTION))
    assert status == 400 and refused['error']['code'] == 'unknown_uuid'
    assert refused['error']['unknown_uuids'] == ['uuid-62']


def test_a_picture_that_is_sent_again_is_decoded_once(
    served: ServedChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []

    def decode(*arguments: Any) -> Any:
        decoded.append(arguments)
        return decode_compressed(*arguments)

    monkeypatch.setattr('penguin_ros.serving.pictures.decode_compressed', decode)
    for level in (77, 77, 78):  # the same uuid may come to mean another picture
        status, _ = served.ask(image_part(picture(level), 'the-newest'), text_part(QUESTION))
        assert status == 200
    assert len(decoded) == 2


# --- how the answer is chosen ---------------------------------------------------------------------


def test_a_seed_makes_a_sampled_answer_the_same_again(served: ServedChat) -> None:
    def text(**fields: Any) -> str:
        status, reply = served.ask(QUESTION, max_tokens=12, **fields)
        assert status == 200
        return str(reply['choices'][0]['message']['content'])

    hot = {'temperature': 1.5, 'top_p': 0.95}
    assert text(seed=7, **hot) == text(seed=7, **hot)
    assert len({text(seed=seed, **hot) for seed in range(4)}) > 1
    assert text() == text(temperature=0)


def test_a_stop_text_ends_an_answer_and_is_never_shown(tiny_checkpoint: Path) -> None:
    with ServedChat(tiny_checkpoint, text=TEXT) as served:
        status, reply = served.ask(QUESTION, stop=['walks over', 'zebra'])
        assert status == 200
        assert reply['choices'][0]['message']['content'] == 'A bear '
        assert reply['choices'][0]['finish_reason'] == 'stop'
        _, whole = served.ask(QUESTION, stop='over the moon')
        assert whole['choices'][0]['message']['content'] == TEXT
        _, cut = served.ask(QUESTION, max_tokens=1)
        assert cut['choices'][0]['finish_reason'] == 'length'
        assert cut['usage']['completion_tokens'] == 1


def test_log_probabilities_come_with_the_most_probable_tokens(served: ServedChat) -> None:
    _, reply = served.ask(QUESTION, max_tokens=4, logprobs=True, top_logprobs=3)
    content = reply['choices'][0]['logprobs']['content']
    assert len(content) == reply['usage']['completion_tokens']
    for each in content:
        best = [top['logprob'] for top in each['top_logprobs']]
        assert len(best) == 3 and best == sorted(best, reverse=True)
        assert each['logprob'] == pytest.approx(best[0])  # greedy
        assert bytes(each['bytes']).decode(errors='replace') == each['token']


def test_choices_are_answered_with_their_probabilities(served: ServedChat) -> None:
    _, reply = served.ask(QUESTION, penguin={'choices': ['yes', 'no'], 'request_id': 'mine'})
    chosen = reply['penguin']['chosen']
    assert reply['penguin']['request_id'] == 'mine'
    assert sum(chosen['probabilities']) == pytest.approx(1) and chosen['choices'] == ['yes', 'no']


def test_an_answer_follows_a_json_schema(served: ServedChat) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    schema = {'type': 'object', 'properties': {'open': {'type': 'boolean'}}, 'required': ['open']}
    wanted = {'type': 'json_schema', 'json_schema': {'name': 'door', 'schema': schema}}
    status, reply = served.ask(QUESTION, response_format=wanted)
    assert status == 200 and isinstance(reply['penguin']['json'], str)
    assert set(json.loads(reply['choices'][0]['message']['content'])) == {'open'}


# --- limits ---------------------------------------------------------------------------------------


def test_one_request_too_many_is_told_when_to_come_again(tiny_checkpoint: Path) -> None:
    with ServedChat(tiny_checkpoint, limits=ServiceLimits(in_flight=1)) as served:
        served.service.metrics.in_flight += 1
        status, reply = served.ask(QUESTION)
        assert (status, reply['error']['code']) == (429, 'queue_full')
        served.service.metrics.in_flight -= 1
        assert served.ask(QUESTION)[0] == 200


def test_a_refusal_reaches_a_client_that_is_still_sending(tiny_checkpoint: Path) -> None:
    with ServedChat(tiny_checkpoint, limits=ServiceLimits(in_flight=1)) as served:
        served.service.metrics.in_flight += 1
        path, kind = '/v1/chat/completions', {'Content-Type': 'application/json'}
        for _ in range(3):
            connection = http.client.HTTPConnection('127.0.0.1', served.port, LIVENESS_SECONDS)
            connection.request('POST', path, bytes(20_000_000), kind)
            response = connection.getresponse()
            assert (response.status, response.headers['Retry-After']) == (429, '1')
            connection.close()


def test_a_deadline_that_passes_is_told_and_the_next_request_is_served(
    tiny_checkpoint: Path,
) -> None:
    with ServedChat(tiny_checkpoint, text=TEXT) as served:
        served.live.in_step = lambda step: served.live.steady.turn(300 * MS)
        status, reply = served.ask(QUESTION, penguin={'deadline_s': 0.25})
        assert (status, reply['error']['code']) == (504, 'deadline_exceeded')
        assert reply['error']['type'] == 'timeout_error'
        served.live.in_step = lambda step: None
        assert served.ask(QUESTION)[1]['choices'][0]['message']['content'] == TEXT


def test_a_model_that_is_not_loaded_yet_is_told(tiny_checkpoint: Path) -> None:
    with ServedChat(tiny_checkpoint, is_loaded=False) as served:
        status, reply = served.post({'model': 'x', 'messages': []})
        assert (status, reply['error']['code']) == (503, 'not_ready')
        assert served.get('/ready')[0] == 503 and served.get('/health')[0] == 200


@pytest.mark.parametrize('is_streamed', [False, True])
def test_a_client_that_goes_away_ends_its_request(tiny_checkpoint: Path, is_streamed: bool) -> None:
    with ServedChat(tiny_checkpoint, text=TEXT) as served:
        live, counts = served.live, lambda: served.live.pipeline.status().counts
        live.gate.close('prefill')
        connection = http.client.HTTPConnection('127.0.0.1', served.port)
        message = {'role': 'user', 'content': QUESTION}
        body = {'model': served.model, 'messages': [message], 'stream': is_streamed}
        headers = {'Content-Type': 'application/json'}
        connection.request('POST', '/v1/chat/completions', json.dumps(body), headers)
        live.gate.wait_arrived()
        connection.close()
        wait_until(lambda: not served.service.metrics.in_flight, 'the request is still under way')
        live.gate.open()
        wait_until(lambda: not counts().questions_running, 'the question still runs')
        assert counts().questions_failed == 1 and counts().questions_finished == 0
        assert served.service.metrics.requests['disconnected'] == 1


def test_a_caption_that_waits_is_replaced_by_the_next_of_its_stream(tiny_checkpoint: Path) -> None:
    with ServedChat(tiny_checkpoint, text=TEXT) as served, ThreadPoolExecutor(4) as pool:
        counts = served.live.pipeline.status
        served.live.gate.close('prefill')
        question = pool.submit(served.ask, QUESTION)
        served.live.gate.wait_arrived()
        first, second = ({'priority': 'caption', 'stream': f'robot{n}/front'} for n in (1, 2))
        older = pool.submit(served.ask, 'Describe it.', penguin=first)
        wait_until(lambda: counts().counts.captions_waiting == 1, 'no caption waits')
        other = pool.submit(served.ask, 'Describe it.', penguin=second)
        newer = pool.submit(served.ask, 'Describe it.', penguin=first)
        wait_until(lambda: counts().counts.captions_replaced == 1, 'no caption was replaced')
        served.live.gate.open()
        status, reply = older.result(LIVENESS_SECONDS)
        assert (status, reply['error']['code']) == (409, 'replaced')
        for answered in (question, other, newer):
            assert answered.result(LIVENESS_SECONDS)[0] == 200


def test_a_fault_of_the_server_is_told_in_the_form_of_the_protocol(
    served: ServedChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError('odd')

    monkeypatch.setattr(served.service, '_read', fail)
    status, reply = served.ask(QUESTION)
    assert (status, reply['error']['code']) == (500, 'server_failed')
    monkeypatch.undo()
    assert served.ask(QUESTION)[0] == 200
