# SPDX-License-Identifier: Apache-2.0
"""Values of the core to penguin_msgs and back: times, texts, evidence, answers, captions, questions.

Knows fields, not topics. Pictures are converted in image_conversion.py.
"""
from __future__ import annotations

import unicodedata
import uuid
from typing import Any

from builtin_interfaces.msg import Duration, Time
from penguin_msgs.msg import Answer as AnswerMessage
from penguin_msgs.msg import Caption
from penguin_msgs.msg import Evidence as EvidenceMessage
from penguin_msgs.msg import FrameRef as FrameRefMessage

from penguin_ros.errors import InvalidRequest
from penguin_ros.frame import NANOSECONDS, Image
from penguin_ros.request import Answer, Evidence, FrameRef, Interval, Request, StopReason
from penguin_ros.ros.error_codes import error_code, error_message

MAX_ID_CHARACTERS = 256
_UINT32_MAX = 2 ** 32 - 1
_INT32_MAX = 2 ** 31 - 1
# Controls that make text appear in another order than it is stored: embeddings, overrides and isolates.
_BIDI_CONTROLS = frozenset('\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069')
_CUT_SHORT = (StopReason.MAX_TOKENS, StopReason.REPETITION, StopReason.DEADLINE)


def printable(text: str) -> str:
    """`text` without control characters (line feed and tab stay), lone surrogates replaced by U+FFFD.

    A NUL would end the string in the message, a lone surrogate cannot be published, an escape sequence could write to the
    terminal of whoever prints it.
    """
    if text.isprintable():
        return text
    return ''.join(_printable_character(character) for character in text)


def _printable_character(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == 'Cs':
        return '\ufffd'
    return '' if (kind == 'Cc' and character not in '\n\t') or character in _BIDI_CONTROLS else character


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds as a stamp, held within what a stamp can carry."""
    seconds, nanoseconds = divmod(max(0, stamp_ns), NANOSECONDS)
    return Time(sec=min(seconds, _INT32_MAX), nanosec=nanoseconds)


def time_ns(message: Time) -> int:
    """A stamp in nanoseconds."""
    return int(message.sec) * NANOSECONDS + int(message.nanosec)


def duration_message(duration_ns: int) -> Duration:
    """Nanoseconds as a duration, negative ones too (a frame ahead of the clock has a negative age)."""
    seconds, nanoseconds = divmod(duration_ns, NANOSECONDS)
    return Duration(sec=max(-_INT32_MAX, min(seconds, _INT32_MAX)), nanosec=nanoseconds)


def duration_ns(message: Duration) -> int:
    """A duration in nanoseconds."""
    return int(message.sec) * NANOSECONDS + int(message.nanosec)


def evidence_message(evidence: Evidence) -> EvidenceMessage:
    """Field by field."""
    return EvidenceMessage(
        frames=[_frame_ref_message(frame) for frame in evidence.frames],
        start=time_message(evidence.start_ns), end=time_message(evidence.end_ns), age=duration_message(evidence.age_ns),
        model_name=printable(evidence.model_name), model_digest=evidence.model_digest, backend=evidence.backend,
        precision=evidence.precision, visual_tokens=_count(evidence.visual_tokens),
        prompt_tokens=_count(evidence.prompt_tokens), generated_tokens=_count(evidence.generated_tokens),
        wait=duration_message(evidence.wait_ns), encode=duration_message(evidence.encode_ns),
        prefill=duration_message(evidence.prefill_ns), decode=duration_message(evidence.decode_ns),
        first_token_latency=duration_message(evidence.first_token_ns), stop_reason=int(evidence.stop_reason),
        is_truncated=evidence.is_truncated, is_stale=evidence.is_stale, frames_dropped=_count(evidence.frames_dropped))


def _frame_ref_message(frame: FrameRef) -> FrameRefMessage:
    return FrameRefMessage(stamp=time_message(frame.stamp_ns), camera=frame.camera, frame_id=printable(frame.frame_id),
                           type=int(frame.type))


def _count(value: int) -> int:
    return max(0, min(int(value), _UINT32_MAX))


def answer_message(answer: Answer) -> AnswerMessage:
    """For `~/answer`, the service's response and the action's result."""
    return AnswerMessage(
        id=printable(answer.id), question=printable(answer.question), camera=answer.camera, text=printable(answer.text),
        error_code=error_code(answer.error), error_message=printable(error_message(answer.error)),
        evidence=evidence_message(answer.evidence))


def caption_message(answer: Answer) -> Caption:
    """For `~/caption`; the header is that of the newest frame."""
    message = Caption(
        camera=answer.camera, text=printable(answer.text), state=_caption_state(answer), error_code=error_code(answer.error),
        error_message=printable(error_message(answer.error)), evidence=evidence_message(answer.evidence))
    if answer.evidence.frames:
        message.header.stamp = message.evidence.frames[-1].stamp
        message.header.frame_id = message.evidence.frames[-1].frame_id
    return message


def _caption_state(answer: Answer) -> int:
    if answer.error is not None and not (answer.text and answer.evidence.stop_reason is StopReason.DEADLINE):
        return int(Caption.ERROR)
    return int(Caption.PARTIAL if answer.evidence.stop_reason in _CUT_SHORT else Caption.OK)


def question_id(message: Any) -> str:
    """The id that a Question, an Ask request or a goal carries, or a new one; InvalidRequest when it is too long."""
    name = ' '.join(printable(message.id).split())
    if len(name) > MAX_ID_CHARACTERS:
        raise InvalidRequest(f'the id has {len(name)} characters', f'{MAX_ID_CHARACTERS} are taken at most')
    return name or uuid.uuid4().hex


def request_from(message: Any, name: str, images: tuple[Image, ...] = ()) -> Request:
    """The request that a Question, an Ask request or a goal of AnswerQuestion asks for; they have the same fields.

    `images` are its pictures, decoded. InvalidRequest when a field other than the question is out of range; the question
    itself and the camera are checked by the core.
    """
    deadline = duration_ns(message.deadline)
    if deadline < 0:
        raise InvalidRequest('the deadline is negative', '', 'Give a duration, or zero for the default')
    return Request(id=name, text=printable(message.question), camera=message.camera, interval=_interval(message), images=images,
                   max_tokens=int(message.max_tokens), deadline_ns=deadline)


def _interval(message: Any) -> Interval | None:
    if not message.has_interval:
        return None
    interval = Interval(time_ns(message.start), time_ns(message.end))
    if interval.end_ns < interval.start_ns:
        raise InvalidRequest('the interval ends before it starts', f'start {interval.start_ns} ns, end {interval.end_ns} ns')
    return interval
