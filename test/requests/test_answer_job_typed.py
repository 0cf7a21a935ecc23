# SPDX-License-Identifier: Apache-2.0
"""Answers with choices, a JSON schema, log probabilities or stamped images, by the pipeline."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.encoded_images import encoded
from support.live_pipeline import MS, SECOND, START, TEXT, LivePipeline, offsets

from penguin_ros.errors import (
    CorruptImage,
    DeadlineExceeded,
    ImageShapeError,
    InvalidChoices,
    InvalidRequest,
    InvalidSchema,
    LibraryUnusable,
)
from penguin_ros.request import EncodedImage, Request, StopReason
from penguin_ros.scoring.scorer import ScoredQuestion
from penguin_ros.steps import run_to_end

SCHEMA = json.dumps(
    {
        'type': 'object',
        'properties': {
            'colour': {'enum': ['red', 'blue']},
            'count': {'type': 'integer', 'minimum': 0, 'maximum': 9},
        },
        'required': ['colour', 'count'],
        'additionalProperties': False,
    }
)
ENDLESS = '{"type": "array", "items": {"type": "string"}, "minItems": 100}'


def picture(level: int, size: tuple[int, int] = (56, 84)) -> EncodedImage:
    return encoded(np.full((*size, 3), level, np.uint8))


# --- choices --------------------------------------------------------------------------------------


def test_an_answer_is_one_of_the_choices_with_their_probabilities(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint, text=None) as live:
        live.frames(0, 500)
        choices = ('a red box', 'a bear', 'nothing')
        answer = live.answer(choices=choices)
        chosen = answer.chosen
        assert answer.error is None and chosen is not None
        assert chosen.choices == choices and sum(chosen.probabilities) == pytest.approx(1)
        best = choices[int(np.argmax(chosen.probabilities))]
        assert chosen.choice == ('' if chosen.is_cannot_tell else best)
        assert answer.text in (*choices, 'I cannot tell.')
        assert answer.confidence == (0 if chosen.is_cannot_tell else max(chosen.probabilities))
        assert 0 <= chosen.cannot_tell <= 1 and 0 <= chosen.other_mass <= 1
        assert [piece.text for piece in live.pieces['q']] == [answer.text]
        evidence = answer.evidence
        assert offsets(answer) == [0, 500] and evidence.stats.prompt_tokens > 0
        assert evidence.stop_reason is StopReason.NONE and not evidence.is_truncated
        assert evidence.stats.generated_tokens == 0


def test_probabilities_are_those_of_the_scorer(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint, text=None) as live:
        live.frames(0)
        answer = live.answer(choices=('yes', 'no'), images=(picture(9),))
        model = live.pipeline._loaded()
        inputs = model.preprocessor(live.config.visual).images_inputs(
            [np.full((56, 84, 3), 9, np.uint8)], 'What is there?'
        )

        def score() -> Any:
            question = ScoredQuestion(inputs, ('yes', 'no'), has_cannot_tell=True)
            return run_to_end(model.scorer.score(model.caches, [question], 256))

        [expected] = score()
        assert answer.chosen is not None
        assert answer.chosen.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
        assert answer.chosen.cannot_tell == pytest.approx(expected.cannot_tell, abs=1e-6)


@pytest.mark.parametrize(('threshold', 'is_cannot_tell'), [(0.0, True), (1.0, False)])
def test_the_threshold_says_from_where_on_it_cannot_be_told(
    tiny_checkpoint: Path, threshold: float, is_cannot_tell: bool
) -> None:
    with LivePipeline(
        tiny_checkpoint, text=None, question__cannot_tell_threshold=threshold
    ) as live:
        live.frames(0)
        answer = live.answer(choices=('here', 'there'))
        assert answer.chosen is not None and answer.chosen.is_cannot_tell is is_cannot_tell
        assert (answer.chosen.choice == '') is is_cannot_tell
        assert (answer.text == 'I cannot tell.') is is_cannot_tell


@pytest.mark.parametrize(
    ('choices', 'why'),
    [
        (('a',) * 65, '65 choices'),
        (tuple(map(str, range(10_000))), '10000 choices'),
        (('a', ''), 'empty'),
        (('a', ' \t'), 'empty'),
        (('a', 'x' * 257), '257 characters'),
        (('a', 'b', 'a'), 'twice'),
        (('a', ' a'), 'twice'),
        (('ü', 'u\u0308'), 'twice'),
        (('yes', 'no', 'Yes'), 'twice'),
        (('a\0', 'b'), 'not printable'),
        (('a', 'b\u202e'), 'not printable'),
    ],
)
def test_choices_that_cannot_be_are_refused(
    tiny_checkpoint: Path, choices: tuple[str, ...], why: str
) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        with pytest.raises(InvalidChoices, match=why) as caught:
            live.ask(choices=choices)
        assert len(str(caught.value)) < 500
        assert live.answer('after').text == TEXT


def test_markup_in_choices_is_text(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint, text=None) as live:
        live.frames(0)
        answer = live.answer(choices=('<|im_end|>', '<image>', '</think>'))
        assert answer.error is None and sum(answer.chosen.probabilities) == pytest.approx(1)


# --- JSON -----------------------------------------------------------------------------------------


def test_an_answer_conforms_to_its_schema_and_streams(tiny_checkpoint: Path) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    with LivePipeline(tiny_checkpoint, text=None) as live:
        live.frames(0, 500)
        answer = live.answer(json_schema=SCHEMA)
        value = json.loads(answer.json)
        assert answer.error is None and answer.text == answer.json
        assert value['colour'] in ('red', 'blue') and value['count'] in range(10)
        assert answer.evidence.stop_reason is StopReason.STOP_TOKEN
        assert not answer.evidence.is_truncated and 0 < answer.confidence < 1
        assert live.pieces['q'][-1].text == answer.text
        stats = answer.evidence.stats
        assert stats.forward_passes < stats.generated_tokens, 'what is forced takes no pass'
        again = live.answer('again', json_schema=SCHEMA)
        assert again.json == answer.json and again.evidence.stats.accepted_tokens >= 0


def test_a_text_that_is_cut_short_is_no_json(tiny_checkpoint: Path) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    with LivePipeline(tiny_checkpoint, text=None) as live:
        live.frames(0)
        for facts in ({'json_schema': ENDLESS}, {'json_schema': SCHEMA, 'max_tokens': 5}):
            answer = live.answer(f'q {len(facts)}', **facts)
            assert answer.error is None and answer.json == '' and answer.text
            assert answer.evidence.is_truncated
            assert answer.evidence.stop_reason in (StopReason.MAX_TOKENS, StopReason.REPETITION)
        live.in_step = lambda step: live.steady.turn(SECOND if step == 'decode' else 0)
        late = live.answer('late', json_schema=ENDLESS, deadline_ns=3 * SECOND)
        assert isinstance(late.error, DeadlineExceeded) and late.json == '' and late.text


@pytest.mark.parametrize(
    'schema', ['{', '[]', '{"type": "thing"}', '{"enum": []}', '{"$ref": "#"}', '{"not": {}}']
)
def test_a_schema_that_cannot_be_followed_ends_the_question(
    tiny_checkpoint: Path, schema: str
) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        answer = live.answer(json_schema=schema)
        assert isinstance(answer.error, InvalidSchema) and answer.json == '' and not live.logged
        assert 'encode' not in live.steps, 'the model was not asked'
        assert live.answer('after').text == TEXT


def test_a_schema_that_is_too_long_is_refused_at_once(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        with pytest.raises(InvalidSchema, match='1000012 characters'):
            live.ask(json_schema='{"const":"%s"}' % ('x' * 1_000_000))
        with pytest.raises(InvalidRequest, match='both'):
            live.ask(json_schema='{}', choices=('a', 'b'))


def test_others_are_answered_while_a_schema_is_compiled(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    import threading

    from penguin_ros.generation.json_grammar import JsonGrammars

    is_free, compile_now = threading.Event(), JsonGrammars.compile

    def slow(self: JsonGrammars, schema: str) -> Any:
        assert is_free.wait(20)
        return compile_now(self, schema)

    monkeypatch.setattr(JsonGrammars, 'compile', slow)
    with LivePipeline(tiny_checkpoint, text=None) as live:
        live.frames(0)
        live.ask('slow', json_schema=SCHEMA)
        live.answer('quick', 'What?', max_tokens=4)
        is_free.set()
        assert json.loads(live.wait('slow').json) and live.ended == ['quick', 'slow']


def test_without_the_library_the_answer_says_what_to_install(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'llguidance', None)
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        answer = live.answer(json_schema='{}')
        assert isinstance(answer.error, LibraryUnusable) and 'llguidance' in str(answer.error)
        assert 'pip install' in answer.error.fix or 'uv pip install' in answer.error.fix
        assert live.answer('after').text == TEXT and not live.logged


# --- log probabilities ----------------------------------------------------------------------------


def test_log_probabilities_come_when_they_are_asked_for(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        plain = live.answer('plain')
        assert plain.logprobs == () and plain.confidence == 0
        answer = live.answer('watched', wants_logprobs=True)
        assert answer.text == plain.text == TEXT
        assert ''.join(each.token for each in answer.logprobs).strip() == TEXT
        assert len(answer.logprobs) == answer.evidence.stats.generated_tokens
        mean = math.fsum(each.logprob for each in answer.logprobs) / len(answer.logprobs)
        assert answer.confidence == pytest.approx(math.exp(mean))
        assert all(each.logprob <= 0 for each in answer.logprobs)


def test_tokens_that_a_schema_forces_are_measured_when_that_is_asked_for(
    tiny_checkpoint: Path,
) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    with LivePipeline(tiny_checkpoint, text=None) as live:
        live.frames(0)
        plain = live.answer('plain', json_schema=SCHEMA)
        answer = live.answer('watched', json_schema=SCHEMA, wants_logprobs=True)
        assert answer.json == plain.json and plain.logprobs == ()
        assert ''.join(each.token for each in answer.logprobs) == answer.json
        assert all(math.isfinite(each.logprob) for each in answer.logprobs)


# --- images with stamps ---------------------------------------------------------------------------


def test_stamped_images_are_shown_as_a_clip_with_their_times(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.now.turn(60 * SECOND)
        stamps = tuple(START + seconds * SECOND for seconds in (0, 7, 30))
        images = tuple(picture(level) for level in (10, 80, 200))
        answer = live.answer(images=images, image_stamps_ns=stamps)
        assert answer.error is None and offsets(answer) == [0, 7000, 30_000]
        assert answer.evidence.age_ns == live.now() - stamps[-1]
        assert (answer.evidence.start_ns, answer.evidence.end_ns) == (stamps[0], stamps[-1])
        assert live.backend is not None
        tokenizer = live.pipeline._loaded().source.tokenizer
        [ids] = live.backend.held().values()
        text = tokenizer.decode(ids)
        assert text.startswith('user\nTime 0.0s:,Time 7.0s:,Time 30.0s:\nWhat is there?')
        plain = live.answer('plain', images=images)
        assert all(frame.stamp_ns == 0 for frame in plain.evidence.frames)


@pytest.mark.parametrize(
    ('count', 'stamps'),
    [(2, (1,)), (2, (1, 2, 3)), (0, (1,)), (2, (2, 1)), (2, (1, 1))],
)
def test_stamps_that_do_not_fit_the_images_are_refused(
    tiny_checkpoint: Path, count: int, stamps: tuple[int, ...]
) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        with pytest.raises(InvalidRequest, match='image_stamps'):
            live.ask(images=(picture(1),) * count, image_stamps_ns=stamps)


def test_stamped_images_of_several_sizes_end_in_an_error_of_the_images(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        images = (picture(1), picture(2, (84, 56)))
        answer = live.answer(images=images, image_stamps_ns=(MS, 2 * MS))
        assert isinstance(answer.error, ImageShapeError)
        broken = live.answer('broken', images=(EncodedImage(b'x'),), image_stamps_ns=(MS,))
        assert isinstance(broken.error, CorruptImage)


def test_the_request_is_a_plain_value() -> None:
    assert Request('q', 'What?').choices == () and Request('q', 'What?').conversation == ''
