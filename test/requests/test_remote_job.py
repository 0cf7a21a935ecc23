# SPDX-License-Identifier: Apache-2.0
"""Questions and captions go to servers, and to the node's own model when these fail."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.live_pipeline import START, TEXT, LivePipeline, offsets, past
from support.stand_in_server import StandInServer, closed_port, waited

from penguin_ros.errors import (
    Busy,
    CaptionTooLate,
    DeadlineExceeded,
    Inactive,
    RemoteError,
    RequestCancelled,
    SettingError,
)
from penguin_ros.remote.breaker import BreakerState
from penguin_ros.request import NO_CAMERA, Answer, StopReason

REMOTE_TEXT = 'A bear walks over the ice.'
OWN_TEXT = 'Two ships sail.'


def live(checkpoint: Path | str, url: str, **values: Any) -> LivePipeline:
    settings = {
        'remote.endpoints': f'lab={url}',
        'remote.check_period': 0.1,
        'remote.recovery': 0.1,
        'question.engine': 'auto',
        'caption.engine': 'auto',
        **{name.replace('__', '.'): value for name, value in values.items()},
    }
    return LivePipeline(
        Path(checkpoint),
        text=OWN_TEXT,
        steady_ns=time.monotonic_ns,
        **{'model.checkpoint': str(checkpoint), **settings},
    )


def caption(running: LivePipeline) -> Answer:
    return running.wait(running.caption())


def test_a_server_answers_about_the_clip_that_the_own_model_would_see(
    tiny_checkpoint: Path,
) -> None:
    with StandInServer('penguin') as server, live(tiny_checkpoint, server.url) as running:
        running.frames(0, 500, 1000)
        answer = running.answer()
        assert (answer.text, answer.error) == (REMOTE_TEXT, None)
        evidence = answer.evidence
        assert (evidence.endpoint, evidence.fallback_reason) == ('lab', '')
        assert (evidence.model_name, evidence.backend) == ('stand-in', 'onnxruntime')
        assert offsets(answer) == [0, 500, 1000]
        assert evidence.frames[0].frame_id == 'front_optical'
        assert evidence.stop_reason is StopReason.STOP_TOKEN
        assert evidence.stats.visual_tokens == 60 and evidence.first_token_ns > 0
        assert ''.join(piece.piece for piece in running.pieces['q']) == REMOTE_TEXT
        assert [piece.sequence for piece in running.pieces['q']] == list(range(6))
        assert running.steps == ['open'], 'the own model did nothing'
        sent = server.bodies[0]['messages'][0]['content'][0]['penguin_clip']['frames']
        assert [int(frame['stamp_ns']) - START for frame in sent] == [0, 500_000_000, 1_000_000_000]


def test_captions_intervals_pictures_and_words_are_asked_too(tiny_checkpoint: Path) -> None:
    with StandInServer() as server, live(tiny_checkpoint, server.url) as running:
        running.frames(0, 500, 1000, 1500)
        assert caption(running).evidence.endpoint == 'lab'
        assert offsets(running.answer('i', interval=past(400, 1100))) == [500, 1000]
        words = running.answer('w', camera=NO_CAMERA)
        assert words.text == REMOTE_TEXT and words.evidence.frames == ()
        assert len(server.bodies[-1]['messages'][0]['content']) == 1


@pytest.mark.parametrize('fault', ['status-500', 'not-json', 'other-model', 'status-429'])
def test_the_own_model_stands_in_and_says_so(fault: str, tiny_checkpoint: Path) -> None:
    with StandInServer(fault=fault) as server, live(tiny_checkpoint, server.url) as running:
        running.frames(0, 500, 1000)
        for answer in (running.answer(), caption(running)):
            assert (answer.text, answer.error) == (OWN_TEXT, None)
            assert answer.evidence.endpoint == '' and 'lab' in answer.evidence.fallback_reason
            assert answer.evidence.model_name == running.facts.name
            assert offsets(answer) == [0, 500, 1000]
        remote = running.pipeline.status().remote
        assert remote is not None and remote.stood_in == 2


def test_a_server_that_is_gone_costs_nothing_until_it_is_back(tiny_checkpoint: Path) -> None:
    with StandInServer() as server, live(tiny_checkpoint, server.url) as running:
        running.frames(0, 500, 1000)
        assert running.answer('before').evidence.endpoint == 'lab'
        server.close()
        waited(lambda: _state(running) is BreakerState.OPEN)
        gone = running.answer('gone')
        assert gone.text == OWN_TEXT and 'left alone' in gone.evidence.fallback_reason
        with StandInServer(port=server.port):
            waited(lambda: _state(running) is BreakerState.TRIAL)
            assert running.answer('trial').evidence.endpoint == 'lab'
            assert _state(running) is BreakerState.CLOSED


def _state(running: LivePipeline) -> BreakerState:
    remote = running.pipeline.status().remote
    assert remote is not None
    return remote.endpoints[0].state


def test_half_a_text_is_never_a_whole_one(tiny_checkpoint: Path) -> None:
    with StandInServer(fault='truncated') as server, live(tiny_checkpoint, server.url) as running:
        running.frames(0, 500, 1000)
        shown = running.answer()
        assert isinstance(shown.error, RemoteError) and shown.text == 'A bear'
        assert shown.evidence.stop_reason is StopReason.ERROR and shown.evidence.is_truncated
        unseen = caption(running)
        assert (unseen.text, unseen.error) == (OWN_TEXT, None), 'nobody had seen its beginning'


def test_without_a_stand_in_the_error_is_named(tiny_checkpoint: Path) -> None:
    url = f'http://127.0.0.1:{closed_port()}'
    with live(tiny_checkpoint, url, question__engine='remote') as running:
        running.frames(0, 500, 1000)
        answer = running.answer()
        assert isinstance(answer.error, RemoteError) and 'lab' in str(answer.error)
        assert running.steps == ['open']


def test_what_only_the_own_model_can_do_stays_with_it(tiny_checkpoint: Path) -> None:
    with StandInServer() as server, live(tiny_checkpoint, server.url) as running:
        running.frames(0, 500, 1000)
        chosen = running.answer('c', choices=('yes', 'no'))
        assert chosen.chosen is not None
        assert 'dialect penguin' in chosen.evidence.fallback_reason
        assert running.answer('t', conversation='new').conversation
        assert server.asked == 0
        remote = running.pipeline.status().remote
        assert remote is not None and remote.stood_in == 0, 'nothing has failed'
    with (
        StandInServer() as server,
        live(tiny_checkpoint, server.url, question__engine='remote') as running,
        pytest.raises(RemoteError, match='probabilities'),
    ):
        running.ask(wants_logprobs=True)


def test_a_served_engine_keeps_to_choices_and_schemas(tiny_checkpoint: Path) -> None:
    for checkpoint, engine in ((tiny_checkpoint, 'auto'), ('', 'remote')):
        facts = {'question__engine': engine, 'caption__engine': engine}
        with (
            StandInServer('penguin') as server,
            live(checkpoint, server.url, **facts) as running,
        ):
            running.frames(0, 500, 1000)
            chosen = running.answer('c', choices=('red', 'blue'))
            assert (chosen.error, chosen.text, chosen.evidence.endpoint) == (None, 'red', 'lab')
            assert chosen.chosen is not None and chosen.chosen.choice == 'red'
            assert chosen.chosen.probabilities == pytest.approx((2 / 3, 1 / 3))
            assert chosen.confidence == pytest.approx(2 / 3)
            schema = '{"type": "object", "properties": {"a": {"type": "integer"}}}'
            answer = running.answer('j', json_schema=schema)
            assert (answer.error, answer.json) == (None, '{"a": 1}')
            assert server.bodies[-1]['response_format']['json_schema']['schema']['type'] == 'object'


@pytest.mark.parametrize(
    ('fault', 'facts'),
    [('no-choice', {'choices': ('red', 'blue')}), ('bad-json', {'json_schema': '{}'})],
)
def test_an_answer_without_its_form_is_none(
    fault: str, facts: dict[str, Any], tiny_checkpoint: Path
) -> None:
    with (
        StandInServer('penguin', fault=fault) as server,
        live('', server.url, question__engine='remote', caption__engine='remote') as running,
    ):
        running.frames(0, 500, 1000)
        answer = running.answer(**facts)
        assert isinstance(answer.error, RemoteError) and answer.chosen is None
        assert answer.json == ''


def test_a_caption_that_comes_too_late_is_dropped_and_counted(tiny_checkpoint: Path) -> None:
    with (
        StandInServer(fault='stall') as server,
        live(tiny_checkpoint, server.url, remote__caption_timeout=0.3) as running,
    ):
        running.frames(0, 500, 1000)
        late = caption(running)
        assert isinstance(late.error, CaptionTooLate) and late.text == ''
        status = running.pipeline.status()
        assert status.remote is not None and status.remote.captions_late == 1
        assert status.counts.captions_dropped == 1 and running.steps == ['open']


def test_the_own_model_works_while_a_server_is_waited_for(tiny_checkpoint: Path) -> None:
    with (
        StandInServer(fault='stall') as server,
        live(tiny_checkpoint, server.url, caption__engine='local') as running,
    ):
        running.frames(0, 500, 1000)
        running.ask('q', deadline_ns=40_000_000_000)
        waited(lambda: server.asked == 1)
        assert caption(running).text == OWN_TEXT
        assert running.pipeline.status().counts.questions_running == 1
        assert running.answers['q'] == []
        assert running.pipeline.cancel('q')
        assert isinstance(running.wait('q').error, RequestCancelled)
        waited(lambda: server.cancelled == 1)


def test_questions_end_by_their_deadline(tiny_checkpoint: Path) -> None:
    with (
        StandInServer(fault='stall') as server,
        live(tiny_checkpoint, server.url, question__engine='remote') as running,
    ):
        running.frames(0, 500, 1000)
        begin = time.monotonic()
        error = running.answer(deadline_ns=400_000_000).error
        assert isinstance(error, (DeadlineExceeded, RemoteError))
        assert time.monotonic() - begin < 5.0


def test_a_deadline_leaves_the_own_model_half_of_its_time(tiny_checkpoint: Path) -> None:
    with StandInServer(fault='stall') as server, live(tiny_checkpoint, server.url) as running:
        running.frames(0, 500, 1000)
        answer = running.answer(deadline_ns=6_000_000_000)
        assert (answer.text, answer.error) == (OWN_TEXT, None)


def test_questions_at_servers_count_as_waiting(tiny_checkpoint: Path) -> None:
    with (
        StandInServer(fault='stall') as server,
        live(tiny_checkpoint, server.url, question__queue_length=2) as running,
    ):
        running.frames(0, 500, 1000)
        for number in range(2):
            running.ask(f'q{number}')
            waited(lambda count=number + 1: server.asked == count)
        with pytest.raises(Busy):
            running.ask('one more')
    assert all(isinstance(running.wait(f'q{number}').error, Inactive) for number in range(2))


def test_a_node_without_a_model_answers_through_servers_alone(tiny_checkpoint: Path) -> None:
    with (
        StandInServer('penguin') as server,
        live('', server.url, question__engine='remote', caption__engine='remote') as running,
    ):
        assert (running.facts.name, running.facts.backend) == ('stand-in', 'remote')
        running.frames(0, 500, 1000)
        assert running.answer().text == caption(running).text == REMOTE_TEXT
        for facts in ({'wants_logprobs': True}, {'conversation': 'new'}):
            with pytest.raises(RemoteError):
                running.ask(**facts)
    with pytest.raises(Inactive):
        running.ask()


def test_engines_without_endpoints_are_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(SettingError, match=r'remote\.endpoints'):
        LivePipeline(tiny_checkpoint, question__engine='auto')


def test_a_pipeline_without_remote_engines_is_as_before(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as running:
        running.frames(0, 500, 1000)
        assert running.answer().text == TEXT
        assert running.pipeline.status().remote is None
