# SPDX-License-Identifier: Apache-2.0
"""Images of a request are decoded beside the worker, within their limits, and whatever happens
meanwhile, the request ends in one answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.encoded_images import encoded
from support.live_pipeline import SECOND, TEXT, LivePipeline
from support.stepped_jobs import LIVENESS_SECONDS

from penguin_ros.config import BufferConfig
from penguin_ros.errors import (
    Busy,
    CorruptImage,
    DeadlineExceeded,
    DuplicateRequest,
    ImageTooLarge,
    Inactive,
    PenguinError,
    RequestCancelled,
    TooManyImages,
    UnsupportedEncoding,
)
from penguin_ros.frame import Image
from penguin_ros.request import EncodedImage
from penguin_ros.requests import images as images_module
from penguin_ros.requests.images import RequestImages
from penguin_ros.requests.preparation import Preparer

PIXELS = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
PNG = encoded(PIXELS)
DECODER_THREAD = 'penguin preparer'


class SlowDecoder:
    """Holds each decoding until `open`; `began` has the threads that came."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decode = images_module.decode_compressed
        self.began: list[str] = []
        self._changed = threading.Condition()
        self._is_open = False
        monkeypatch.setattr(images_module, 'decode_compressed', self._held)

    def wait_began(self, count: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.began) >= count, LIVENESS_SECONDS)

    def open(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def _held(self, *arguments: Any) -> Image:
        with self._changed:
            self.began.append(threading.current_thread().name)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_open, LIVENESS_SECONDS)
        return self.decode(*arguments)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDecoder]:
    decoder = SlowDecoder(monkeypatch)
    yield decoder
    decoder.open()


@pytest.fixture
def live(tiny_checkpoint: Path) -> Iterator[LivePipeline]:
    with LivePipeline(tiny_checkpoint, question__queue_length=3) as opened:
        opened.frames(0)
        yield opened


def test_images_are_decoded_in_order_with_their_limits() -> None:
    limits = BufferConfig(max_frame_pixels=600)
    images = RequestImages((PNG, encoded(PIXELS[:20], 'JPEG')), limits)
    assert not images.is_ready and images.decoded == ()
    images.prepare()
    assert images.is_ready and [image.shape for image in images.decoded] == [
        (20, 30, 3),
        (14, 42, 3),
    ]
    whole = RequestImages((PNG,), BufferConfig())
    whole.prepare()
    assert (whole.decoded[0] == PIXELS).all()
    images.drop()
    assert not images.is_ready and images.decoded == ()


@pytest.mark.parametrize(
    ('image', 'error', 'reason'),
    [
        (EncodedImage(b''), CorruptImage, 'it is empty'),
        (EncodedImage(PNG.content[:-30]), CorruptImage, 'it is truncated there'),
        (EncodedImage(b'RIFF0000WEBPVP8 ', 'webp'), UnsupportedEncoding, "'webp'"),
        (encoded(np.zeros((50, 60, 3), np.uint8)), ImageTooLarge, '60x50'),
    ],
)
def test_an_image_that_cannot_be_used_ends_its_request_with_the_reason(
    tiny_checkpoint: Path, image: EncodedImage, error: type[PenguinError], reason: str
) -> None:
    with LivePipeline(tiny_checkpoint, buffer__max_image_pixels=2500) as live:
        answer = live.answer('bad', images=(PNG, image))
        assert isinstance(answer.error, error) and reason in str(answer.error)
        assert answer.text == '' and live.pipeline.status().counts.questions_failed == 1
        assert live.pipeline.status().last_error is answer.error
        assert live.answer('good', images=(PNG,)).text == TEXT and not live.logged


@pytest.mark.parametrize(
    ('values', 'error'),
    [
        ({'question__max_images': 1}, TooManyImages),
        ({'question__max_image_bytes': 50}, ImageTooLarge),
    ],
)
def test_more_than_a_question_may_carry_is_refused_at_once(
    tiny_checkpoint: Path, slow: SlowDecoder, values: dict[str, int], error: type[PenguinError]
) -> None:
    with LivePipeline(tiny_checkpoint, **values) as live:
        with pytest.raises(error):
            live.ask(images=(PNG, PNG))
        assert live.pipeline.status().counts.questions_refused == 1 and not slow.began


def test_while_images_are_decoded_other_requests_go_on(
    live: LivePipeline, slow: SlowDecoder
) -> None:
    live.ask('images', images=(PNG,))
    slow.wait_began()
    assert live.answer('other').text == TEXT and live.wait(live.caption()).text == TEXT
    assert not live.answers['images'] and live.pipeline.status().counts.questions_waiting == 1
    slow.open()
    answer = live.wait('images')
    assert answer.text == TEXT and answer.camera == '' and slow.began[0].startswith(DECODER_THREAD)


def test_requests_with_images_wait_in_the_line_and_one_more_is_busy(
    live: LivePipeline, slow: SlowDecoder
) -> None:
    for number in range(3):
        live.ask(f'q{number}', images=(PNG, PNG))
    with pytest.raises(Busy):
        live.ask('one more', images=(PNG,))
    with pytest.raises(DuplicateRequest):
        live.ask('q1')
    slow.open()
    assert all(live.wait(f'q{number}').text == TEXT for number in range(3))
    assert len(slow.began) == 6


def test_a_request_is_cancelled_while_its_images_are_decoded_and_its_id_is_free_again(
    live: LivePipeline, slow: SlowDecoder
) -> None:
    live.ask(images=(PNG, EncodedImage(b'not a picture')))
    slow.wait_began()
    assert live.pipeline.cancel('q')
    assert isinstance(live.wait('q').error, RequestCancelled)
    live.ask(images=(PNG,))
    slow.open()
    slow.wait_began(2)
    while len(live.answers['q']) < 2:
        live.wait('q')
    assert live.answers['q'][1].text == TEXT
    assert len(slow.began) == 2, 'of the first request no further image was decoded'


def test_the_deadline_counts_from_receipt_and_ends_a_request_whose_images_are_decoded(
    live: LivePipeline, slow: SlowDecoder
) -> None:
    live.ask(images=(PNG,), deadline_ns=3 * SECOND)
    slow.wait_began()
    live.steady.turn(3 * SECOND)
    assert isinstance(live.wait('q').error, DeadlineExceeded)


def test_the_time_of_decoding_counts_against_the_deadline(
    live: LivePipeline, slow: SlowDecoder
) -> None:
    live.in_step = lambda step: live.steady.turn(SECOND if step == 'decode' else 0)
    live.ask(images=(PNG,), deadline_ns=4 * SECOND)
    slow.wait_began()
    live.steady.turn(2 * SECOND)
    slow.open()
    answer = live.wait('q')
    assert isinstance(answer.error, DeadlineExceeded) and TEXT.startswith(answer.text)
    assert answer.evidence.wait_ns == 2 * SECOND and answer.evidence.stats.generated_tokens == 3


def test_deactivating_and_closing_end_a_request_whose_images_are_decoded(
    tiny_checkpoint: Path, slow: SlowDecoder
) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.ask('deactivated', images=(PNG,))
        slow.wait_began()
        assert live.pipeline.deactivate('going to sleep', LIVENESS_SECONDS)
        assert isinstance(live.wait('deactivated').error, Inactive)
        live.pipeline.activate()
        live.ask('closed', images=(PNG,))
        assert live.pipeline.close(LIVENESS_SECONDS)
        assert isinstance(live.wait('closed').error, Inactive)
    assert len(live.answers['deactivated']) == len(live.answers['closed']) == 1


def test_an_exception_that_nobody_expected_is_logged_and_ends_the_request(
    live: LivePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Image:
        raise error

    error = RuntimeError('odd')
    monkeypatch.setattr(images_module, 'decode_compressed', fail)
    answer = live.answer(images=(PNG,))
    assert answer.error is not None and 'odd' in str(answer.error) and live.logged == [error]
    assert live.pipeline.status().callback_failures == 1
    monkeypatch.undo()
    assert live.answer('next', images=(PNG,)).text == TEXT


def test_a_decoder_that_is_closed_starts_nothing() -> None:
    decoder, ends = Preparer(lambda what, error: None), list[PenguinError | None]()
    done = threading.Event()
    decoder.start(
        [RequestImages((PNG,), BufferConfig())], lambda end: (ends.append(end), done.set())
    )
    assert done.wait(LIVENESS_SECONDS) and ends == [None]
    decoder.close()
    decoder.start([RequestImages((PNG,), BufferConfig())], ends.append)
    assert ends == [None]
