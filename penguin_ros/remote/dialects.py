# SPDX-License-Identifier: Apache-2.0
"""Bodies of `POST /v1/chat/completions` in the dialects that servers speak.

penguin     a clip with stamps, types and sizes of its frames, each sent once (docs/serving.md)
vllm-video  the frames as one video of JPEGs, with their times; all of the size of the largest
images      pictures one after the other, each behind its time as text
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from penguin_ros.frame import FrameType
from penguin_ros.remote.frame_pictures import Picture
from penguin_ros.remote.question import RemoteFrame, RemoteQuestion

PENGUIN, VLLM_VIDEO, IMAGES = 'penguin', 'vllm-video', 'images'

GetPicture = Callable[[RemoteFrame], Picture]
Body = dict[str, Any]


@dataclass(frozen=True)
class ServerFacts:
    """What is known of a server: the model that it runs, what is spoken with it, and whether it
    counts tokens at the end of a stream where it is asked to; None while that was not tried, which
    some servers refuse.
    """

    model: str
    dialect: str
    takes_usage: bool | None = True


def has_uuids(dialect: str) -> bool:
    """True when a picture need not be sent again to a server that keeps it."""
    return dialect == PENGUIN


def body_of(
    question: RemoteQuestion,
    facts: ServerFacts,
    picture: GetPicture,
    kept: Collection[str] = (),
    deadline_s: float = 0.0,
) -> Body:
    """Returns the body of a question. `picture` encodes a frame; those whose uuid is in `kept` are
    only named.
    """
    dialect = facts.dialect
    parts = _PARTS[dialect](question, picture, kept)
    generation = question.generation
    body: Body = {
        'model': facts.model,
        'messages': [{'role': 'user', 'content': [*parts, _text(question.text)]}],
        'max_tokens': question.max_tokens,
        'temperature': generation.temperature,
        'stream': True,
    }
    if generation.temperature > 0:
        body |= {'top_p': generation.top_p, 'seed': generation.seed}
    if facts.takes_usage is not False:
        body['stream_options'] = {'include_usage': True}
    body |= _wishes(question)
    if dialect == PENGUIN:
        body['penguin'] = {
            'deadline_s': round(deadline_s, 3),
            'priority': 'caption' if question.is_caption else 'question',
            'stream': question.stream,
            **({'choices': list(question.choices)} if question.choices else {}),
        }
    if dialect == VLLM_VIDEO and question.is_clip and question.frames:
        body['media_io_kwargs'] = {'video': _video_facts(question)}
    return body


def _wishes(question: RemoteQuestion) -> Body:
    wishes: Body = {}
    if question.stop:
        wishes['stop'] = list(question.stop)
    if question.json_schema:
        wishes['response_format'] = {
            'type': 'json_schema',
            'json_schema': {'name': 'answer', 'schema': json.loads(question.json_schema)},
        }
    return wishes


def _penguin_parts(
    question: RemoteQuestion, picture: GetPicture, kept: Collection[str]
) -> list[Body]:
    if not question.is_clip or not question.frames:
        return [_image(picture(frame), kept, has_uuid=True) for frame in question.frames]
    clip = {
        'camera': question.camera,
        'is_truncated': question.is_truncated,
        'frames': [_penguin_frame(frame, picture(frame), kept) for frame in question.frames],
    }
    return [{'type': 'penguin_clip', 'penguin_clip': clip}]


def _penguin_frame(frame: RemoteFrame, picture: Picture, kept: Collection[str]) -> Body:
    sent = {} if picture.uuid in kept else {'image': picture.base64}
    return {
        'stamp_ns': str(frame.frame.stamp_ns),  # a JSON number may be read as a float
        'uuid': picture.uuid,
        'type': 'key' if frame.type is FrameType.KEY else 'intermediate',
        'size': list(frame.size),
        **sent,
    }


def _video_parts(
    question: RemoteQuestion, picture: GetPicture, kept: Collection[str]
) -> list[Body]:
    if not question.is_clip or not question.frames:
        return [_image(picture(frame), kept) for frame in question.frames]
    largest = max((frame.size for frame in question.frames), key=lambda size: size[0] * size[1])
    frames = [picture(replace(frame, size=largest)).base64 for frame in question.frames]
    return [
        {'type': 'video_url', 'video_url': {'url': f'data:video/jpeg;base64,{",".join(frames)}'}}
    ]


def _video_facts(question: RemoteQuestion) -> Body:
    """Says when the frames were taken; without `num_frames` the server would keep the first 32 and
    lose the newest.
    """
    seconds, count = question.seconds, len(question.frames)
    duration = seconds[-1] if count > 1 else 1.0
    fps = (count - 1) / duration if count > 1 and duration else 1.0
    return {
        'num_frames': -1,
        'fps': fps,
        'frames_indices': [round(second * fps) for second in seconds],
        'total_num_frames': count,
        'duration': duration,
        'do_sample_frames': False,
    }


def _images_parts(
    question: RemoteQuestion, picture: GetPicture, kept: Collection[str]
) -> list[Body]:
    if not question.is_clip:
        return [_image(picture(frame), kept) for frame in question.frames]
    parts = []
    for second, frame in zip(question.seconds, question.frames, strict=True):
        parts += [_text(f'Time {round(second, 1)}s:'), _image(picture(frame), kept)]
    return parts


def _image(picture: Picture, kept: Collection[str], has_uuid: bool = False) -> Body:
    is_kept = has_uuid and picture.uuid in kept
    url = {'url': f'data:image/jpeg;base64,{picture.base64}'}
    named = {'uuid': picture.uuid} if has_uuid else {}
    return {'type': 'image_url', 'image_url': None if is_kept else url, **named}


def _text(text: str) -> Body:
    return {'type': 'text', 'text': text}


_PARTS = {PENGUIN: _penguin_parts, VLLM_VIDEO: _video_parts, IMAGES: _images_parts}
