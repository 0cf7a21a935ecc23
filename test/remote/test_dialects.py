# SPDX-License-Identifier: Apache-2.0
"""What is sent in each dialect, and that a picture is sent once."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from support.asked_servers import clip_frames, clip_question
from support.stand_in_server import TEXT, StandInServer

from penguin_ros.config import GenerationConfig
from penguin_ros.remote.dialects import IMAGES, PENGUIN, VLLM_VIDEO, ServerFacts, body_of
from penguin_ros.remote.frame_pictures import FramePictures


def body(dialect: str, kept: tuple[str, ...] = (), **facts: Any) -> dict[str, Any]:
    pictures = FramePictures()
    question = clip_question(**facts)
    facts = ServerFacts('m', dialect)
    return body_of(question, facts, lambda frame: pictures.picture(frame, 90), kept, 6.0)


def parts(said: dict[str, Any]) -> list[dict[str, Any]]:
    return list(said['messages'][0]['content'])


def size_of(picture: str) -> tuple[int, int]:
    with PillowImage.open(io.BytesIO(base64.b64decode(picture))) as image:
        return image.height, image.width


def test_penguin_sends_frames_with_stamps_plan_and_digests() -> None:
    said = body(PENGUIN, is_caption=True)
    clip, text = parts(said)
    frames = clip['penguin_clip']['frames']
    assert [frame['stamp_ns'] for frame in frames] == [
        '1700000000000000000',
        '1700000000500000000',
        '1700000001000000000',
    ]
    assert [frame['type'] for frame in frames] == ['key', 'intermediate', 'intermediate']
    assert [size_of(frame['image']) for frame in frames] == [(112, 168), (56, 84), (56, 84)]
    assert [frame['size'] for frame in frames] == [[112, 168], [56, 84], [56, 84]]
    assert text == {'type': 'text', 'text': 'What is there?'}
    assert said['penguin'] == {'deadline_s': 6.0, 'priority': 'caption', 'stream': 'robot/front'}
    named = parts(body(PENGUIN, kept=(frames[0]['uuid'], frames[2]['uuid'])))[0]['penguin_clip']
    assert ['image' in frame for frame in named['frames']] == [False, True, False]


def test_images_have_their_times_as_text_in_front() -> None:
    said = parts(body(IMAGES))
    assert [part['text'] for part in said if part['type'] == 'text'] == [
        'Time 0.0s:',
        'Time 0.5s:',
        'Time 1.0s:',
        'What is there?',
    ]
    assert [part['type'] for part in said[:4]] == ['text', 'image_url'] * 2


@pytest.mark.parametrize('dialect', [PENGUIN, VLLM_VIDEO, IMAGES])
def test_a_question_without_frames_is_text_alone(dialect: str) -> None:
    said = body(dialect, frames=())
    assert parts(said) == [{'type': 'text', 'text': 'What is there?'}]
    assert 'media_io_kwargs' not in said


def test_a_video_for_vllm_keeps_all_frames_and_has_one_size() -> None:
    said = body(VLLM_VIDEO, frames=clip_frames(40))
    url = parts(said)[0]['video_url']['url']
    pictures = url.removeprefix('data:video/jpeg;base64,').split(',')
    assert len(pictures) == 40 and {size_of(each) for each in pictures} == {(112, 168)}
    video = said['media_io_kwargs']['video']
    assert video['num_frames'] == -1 and video['fps'] == 2.0
    assert video['frames_indices'] == list(range(40)) and video['duration'] == 19.5


@pytest.mark.parametrize('dialect', [PENGUIN, VLLM_VIDEO, IMAGES])
def test_pictures_without_stamps_and_words_alone_are_sent_as_such(dialect: str) -> None:
    kinds = [part['type'] for part in parts(body(dialect, is_clip=False))]
    assert kinds == ['image_url'] * 3 + ['text']
    assert parts(body(dialect, is_clip=False, frames=()))[0]['type'] == 'text'


def test_sampling_is_passed_on_where_it_matters() -> None:
    assert 'seed' not in body(IMAGES)
    said = body(IMAGES, generation=GenerationConfig(temperature=0.5, seed=7), stop=('\n',))
    assert (said['temperature'], said['seed'], said['stop']) == (0.5, 7, ['\n'])


def test_a_frame_is_encoded_once_and_the_store_is_bounded() -> None:
    pictures, frames = FramePictures(max_bytes=100_000), clip_frames(3)
    first = [pictures.picture(frame, 90).uuid for frame in frames]
    assert [pictures.picture(frame, 90).uuid for frame in frames] == first
    assert pictures.encoded == 3 and len(set(first)) == 3
    noise = np.random.default_rng(1).integers(0, 256, (9, 120, 168, 3), np.uint8)
    for image in noise:
        frame = frames[0]
        pictures.picture(type(frame)(type(frame.frame)(0, image), frame.type, frame.size), 90)
    assert 0 < pictures._bytes <= 100_000


def test_a_picture_is_sent_once_and_again_when_the_server_has_lost_it(asker: Any) -> None:
    with StandInServer('penguin') as server:
        engines = asker(server.url)
        assert engines.status.dialect == 'penguin'
        for _ in range(2):
            assert engines.answer().text == TEXT
        assert (engines.status.pictures_sent, engines.status.pictures_named) == (3, 3)
        server.kept.clear()
        assert engines.answer().text == TEXT and server.asked == 4
        assert engines.status.pictures_sent == 6


@pytest.mark.parametrize(
    ('spoken', 'dialect'), [('penguin', 'penguin'), ('vllm', 'vllm-video'), ('llamacpp', 'images')]
)
def test_the_dialect_is_learnt_from_the_server(spoken: str, dialect: str, asker: Any) -> None:
    with StandInServer(spoken) as server:
        status = asker(server.url).status
        assert (status.dialect, status.model) == (dialect, 'stand-in')


def test_a_model_without_video_behind_vllm_gets_pictures(asker: Any) -> None:
    with StandInServer('vllm', fault='status-400') as server:
        assert asker(server.url).status.dialect == 'images'


@pytest.mark.parametrize(
    ('usage', 'tokens', 'asked'),
    [('always', 7, 2), ('if-asked', 7, 2), ('refuses-to', 0, 3)],
)
def test_tokens_are_counted_by_servers_that_do_so_when_they_are_asked(
    usage: str, tokens: int, asked: int, asker: Any
) -> None:
    with StandInServer('llamacpp', usage=usage) as server:
        engines = asker(server.url)
        answers = [engines.answer() for _ in range(2)]
        assert [each.text for each in answers] == [TEXT, TEXT]
        assert [each.stats.generated_tokens for each in answers] == [tokens, tokens]
        assert server.asked == asked, 'a server that refuses it is asked for counts once'


def test_a_server_that_refuses_for_another_reason_goes_on_being_asked_for_counts(
    asker: Any,
) -> None:
    with StandInServer('llamacpp', usage='if-asked', fault='status-400') as server:
        engines = asker(server.url)
        refused = engines.ask()
        assert refused.cause == 'refused'
        server.fault = ''
        assert engines.answer().stats.generated_tokens == 7


def test_vllm_with_pictures_alone_is_known_to_count(asker: Any) -> None:
    with StandInServer('vllm', fault='status-400', usage='if-asked') as server:
        engines = asker(server.url)
        asked = engines.ask()
        assert asked.cause == 'refused' and server.asked == 2, 'the probe, and the question once'
        server.fault = ''
        assert engines.answer().stats.prompt_tokens == 100
