# SPDX-License-Identifier: Apache-2.0
"""Makes a request complete, or refuses it before it costs anything.

Chat markup in a question stays as it is: the tokenizer makes plain text of it, and of other
notations of one character whatever they stand for.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from itertools import pairwise

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import (
    ImageTooLarge,
    InvalidQuestion,
    InvalidRequest,
    QuestionTooLong,
    TooManyImages,
    UnknownCamera,
)
from penguin_ros.frame import NANOSECONDS
from penguin_ros.question_config import QuestionConfig
from penguin_ros.request import NEW_CONVERSATION, NO_CAMERA, Interval, Request
from penguin_ros.requests.answer_form import check_answer_form
from penguin_ros.requests.said_dialogue import checked_dialogue
from penguin_ros.text import cleaned

MAX_ID_CHARACTERS = 256


def checked_request(request: Request, config: PenguinConfig, cameras: Sequence[str]) -> Request:
    """Returns the request with id, cleaned question, camera, maximum of tokens and deadline filled
    in. Images take the place of a camera, and so do a dialogue, the frames of a conversation, and
    NO_CAMERA: its name is then '', and the caller decodes the images.

    More tokens than the configured maximum become that maximum. Raises the RequestError or
    ImageTooLarge that says what is wrong.
    """
    limits = config.question
    said = request.dialogue and checked_dialogue(request.dialogue, limits.max_characters)
    question = said[-1].text if said else checked_question(request.text, limits.max_characters)
    _check_images(request, limits)
    if request.interval is not None:
        _check_interval(request.interval)
    if request.forgets_conversation and not request.conversation:
        raise _forgets_nothing()
    check_answer_form(request, limits)
    return dataclasses.replace(
        request,
        id=_checked_id(request.id),
        text=question,
        dialogue=said,
        camera=request.camera
        if said
        else ''
        if request.images or is_about_what_was_shown(request) or _is_about_words(request, cameras)
        else checked_camera(request.camera or limits.camera, cameras),
        images=(),  # encoded ones are not kept longer than their decoding takes
        max_tokens=_checked_tokens(request.max_tokens, limits.max_tokens),
        deadline_ns=_checked_deadline(request.deadline_ns, round(limits.deadline * NANOSECONDS)),
    )


def is_about_what_was_shown(request: Request) -> bool:
    """True when a request goes on with a conversation and names nothing to look at."""
    return request.conversation not in ('', NEW_CONVERSATION) and not (
        request.camera or request.images or request.interval
    )


def _is_about_words(request: Request, cameras: Sequence[str]) -> bool:
    """True when a request names NO_CAMERA; InvalidRequest when it names frames of it, too."""
    if request.camera != NO_CAMERA or NO_CAMERA in cameras:
        return False
    if request.interval is not None:
        raise InvalidRequest(
            f'an interval is given, and {NO_CAMERA!r} as the camera',
            'a question about no camera has no frames',
            'Leave one of them out',
        )
    return True


def checked_forgetting(request: Request) -> Request:
    """Returns a request that only forgets its conversation, with its id filled in."""
    if not request.conversation:
        raise _forgets_nothing()
    return dataclasses.replace(request, id=_checked_id(request.id))


def _forgets_nothing() -> InvalidRequest:
    return InvalidRequest(
        'no conversation is named', 'there is none to forget', 'Give its id in conversation'
    )


def checked_question(text: str, max_characters: int) -> str:
    """Returns the cleaned question. Raises QuestionTooLong before any work on it, InvalidQuestion
    when nothing is left to answer.
    """
    if len(text) > max_characters:
        raise QuestionTooLong(
            f'the question has {len(text)} characters',
            f'{max_characters} are taken (question.max_characters)',
            'Ask more briefly',
        )
    question = cleaned(text)
    if not question.strip():
        raise InvalidQuestion(
            'the question is empty',
            'there is nothing but white space and control characters in it',
            'Ask something',
        )
    return question


def checked_camera(camera: str, cameras: Sequence[str]) -> str:
    """Returns the camera, or the first one for ''; raises UnknownCamera, which names those there
    are.
    """
    if not cameras:
        raise UnknownCamera('no camera is configured', '', 'Set the parameter cameras')
    if camera and camera not in cameras:
        raise UnknownCamera(
            f'no camera is called {camera[:MAX_ID_CHARACTERS]!r}',
            f'the only camera is {cameras[0]!r}'
            if len(cameras) == 1
            else f'the cameras are {", ".join(map(repr, cameras))}',
        )
    return camera or cameras[0]


def _checked_id(request_id: str) -> str:
    if len(request_id) > MAX_ID_CHARACTERS:
        raise InvalidRequest(
            f'the id has {len(request_id)} characters', f'{MAX_ID_CHARACTERS} are taken'
        )
    if cleaned(request_id) != request_id or not set(request_id).isdisjoint('\n\t'):
        raise InvalidRequest(
            f'the id {cleaned(request_id)!r} holds characters that are not printable',
            'it would not come back as it was given',
            'Give one printable line, or none',
        )
    return request_id or uuid.uuid4().hex


def _check_images(request: Request, limits: QuestionConfig) -> None:
    if len(request.images) > limits.max_images:
        raise TooManyImages(
            f'{len(request.images)} images',
            f'a question may carry {limits.max_images} (question.max_images)',
        )
    size = sum(len(image.content) for image in request.images)
    if size > limits.max_image_bytes:
        raise ImageTooLarge(
            f'images of {size} bytes',
            f'a question may carry {limits.max_image_bytes} bytes (question.max_image_bytes)',
            'Send fewer or smaller ones',
        )
    if request.images and request.interval is not None:
        raise InvalidRequest(
            'both images and an interval are given', 'a question is about one or the other'
        )
    _check_stamps(request)


def _check_stamps(request: Request) -> None:
    stamps = request.image_stamps_ns
    if stamps and len(stamps) != len(request.images):
        raise InvalidRequest(
            f'{len(stamps)} image_stamps',
            f'{len(request.images)} images are given',
            'Give one stamp for each image, or none',
        )
    if any(later <= earlier for earlier, later in pairwise(stamps)):
        raise InvalidRequest(
            'the image_stamps do not ascend',
            'images with stamps are shown as a video',
            'Give the images in the order of their times',
        )


def _check_interval(interval: Interval) -> None:
    if interval.start_ns > interval.end_ns:
        raise InvalidRequest(
            'the interval ends before it starts',
            f'start {interval.start_ns} ns, end {interval.end_ns} ns',
        )


def _checked_tokens(max_tokens: int, limit: int) -> int:
    if max_tokens < 0:
        raise InvalidRequest(f'max_tokens = {max_tokens}', 'it takes 0 (the default) or more')
    return min(max_tokens or limit, limit)


def _checked_deadline(deadline_ns: int, longest_ns: int) -> int:
    if deadline_ns < 0:
        raise InvalidRequest(
            'the deadline is negative', '', 'Give a duration, or zero for the default'
        )
    if deadline_ns > longest_ns:
        raise InvalidRequest(
            f'the deadline is {deadline_ns / NANOSECONDS:.3f} s away',
            f'the longest is {longest_ns / NANOSECONDS:.3f} s (question.deadline)',
        )
    return deadline_ns or longest_ns
