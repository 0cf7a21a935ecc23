# SPDX-License-Identifier: Apache-2.0
"""Converts evidence, answers and captions of the core to penguin_msgs, and questions from it.

Texts are cleaned and counts are held within their fields here. Images are decoded in `media`.
"""

from __future__ import annotations

import uuid
from typing import Any

from penguin_msgs.msg import Answer as AnswerMessage
from penguin_msgs.msg import Caption, TokenLogprob
from penguin_msgs.msg import Evidence as EvidenceMessage
from penguin_msgs.msg import FrameRef as FrameRefMessage

from penguin_ros.frame import to_nanoseconds
from penguin_ros.media.raw import flat_bytes
from penguin_ros.request import (
    Answer,
    ChosenAnswer,
    EncodedImage,
    Evidence,
    FrameRef,
    Interval,
    Request,
    StopReason,
)
from penguin_ros.ros.conversions.error_codes import error_code, error_message
from penguin_ros.ros.conversions.times import duration_message, time_message
from penguin_ros.text import cleaned

_UINT32_MAX = 2**32 - 1
_CUT_SHORT = (StopReason.MAX_TOKENS, StopReason.REPETITION, StopReason.DEADLINE)


def evidence_message(evidence: Evidence) -> EvidenceMessage:
    """Returns the evidence as a message, field by field."""
    stats = evidence.stats
    return EvidenceMessage(
        frames=[_frame_ref_message(frame) for frame in evidence.frames],
        start=time_message(evidence.start_ns),
        end=time_message(evidence.end_ns),
        age=duration_message(evidence.age_ns),
        model_name=cleaned(evidence.model_name),
        model_digest=evidence.model_digest,
        backend=evidence.backend,
        precision=evidence.precision,
        visual_tokens=_count(stats.visual_tokens),
        prompt_tokens=_count(stats.prompt_tokens),
        generated_tokens=_count(stats.generated_tokens),
        wait=duration_message(evidence.wait_ns),
        encode=duration_message(stats.encode_ns),
        prefill=duration_message(stats.prefill_ns),
        decode=duration_message(stats.decode_ns),
        first_token_latency=duration_message(evidence.first_token_ns),
        stop_reason=int(evidence.stop_reason),
        is_truncated=evidence.is_truncated,
        is_stale=evidence.is_stale,
        frames_dropped=_count(evidence.frames_dropped),
        unchanged_since=time_message(evidence.unchanged_since_ns),
        reused_tokens=_count(stats.reused_tokens),
        reused_frames=_count(stats.reused_frames),
        forward_passes=_count(stats.forward_passes),
        drafted_tokens=_count(stats.drafted_tokens),
        accepted_tokens=_count(stats.accepted_tokens),
        endpoint=cleaned(evidence.endpoint),
        fallback_reason=cleaned(evidence.fallback_reason),
    )


def _frame_ref_message(frame: FrameRef) -> FrameRefMessage:
    return FrameRefMessage(
        stamp=time_message(frame.stamp_ns),
        camera=frame.camera,
        frame_id=cleaned(frame.frame_id),
        type=int(frame.type),
    )


def _count(value: int) -> int:
    return max(0, min(int(value), _UINT32_MAX))


def answer_message(answer: Answer) -> AnswerMessage:
    """Returns the message for `~/answer`, the service's response and the action's result."""
    return AnswerMessage(
        id=cleaned(answer.id),
        question=cleaned(answer.question),
        camera=answer.camera,
        text=cleaned(answer.text),
        error_code=error_code(answer.error),
        error_message=cleaned(error_message(answer.error)),
        evidence=evidence_message(answer.evidence),
        confidence=answer.confidence,
        json=answer.json,
        logprobs=[
            TokenLogprob(token=cleaned(each.token), logprob=each.logprob)
            for each in answer.logprobs
        ],
        conversation=answer.conversation,
        **_chosen_fields(answer.chosen),
    )


def _chosen_fields(chosen: ChosenAnswer | None) -> dict[str, Any]:
    if chosen is None:
        return {}
    return {
        'choice': chosen.choice,
        'choices': list(chosen.choices),
        'probabilities': list(chosen.probabilities),
        'cannot_tell': chosen.cannot_tell,
        'is_cannot_tell': chosen.is_cannot_tell,
        'other_mass': chosen.other_mass,
    }


def caption_message(answer: Answer) -> Caption:
    """Returns the message for `~/caption`.

    Its header is that of the newest frame that the text holds for.
    """
    message = Caption(
        camera=answer.camera,
        text=cleaned(answer.text),
        state=_caption_state(answer),
        error_code=error_code(answer.error),
        error_message=cleaned(error_message(answer.error)),
        evidence=evidence_message(answer.evidence),
    )
    if answer.evidence.frames:
        message.header.stamp = message.evidence.end
        message.header.frame_id = message.evidence.frames[-1].frame_id
    return message


def _caption_state(answer: Answer) -> int:
    if answer.error is not None and not (
        answer.text and answer.evidence.stop_reason is StopReason.DEADLINE
    ):
        return int(Caption.ERROR)
    if answer.evidence.unchanged_since_ns:
        return int(Caption.UNCHANGED)
    return int(Caption.PARTIAL if answer.evidence.stop_reason in _CUT_SHORT else Caption.OK)


def question_id(message: Any) -> str:
    """Returns the id of a Question, an Ask request or a goal as it was given, or a new id when it
    carries none.
    """
    return str(message.id) or uuid.uuid4().hex


def request_from(message: Any, name: str) -> Request:
    """Returns the request of a Question, an Ask request or a goal of AnswerQuestion, which have the
    same fields. The core checks the values and decodes the images.
    """
    interval = (
        Interval(to_nanoseconds(message.start), to_nanoseconds(message.end))
        if message.has_interval
        else None
    )
    return Request(
        id=name,
        text=message.question,
        camera=message.camera,
        interval=interval,
        images=tuple(
            EncodedImage(flat_bytes(image.data).data, image.format) for image in message.images
        ),
        max_tokens=int(message.max_tokens),
        deadline_ns=to_nanoseconds(message.deadline),
        image_stamps_ns=tuple(map(to_nanoseconds, message.image_stamps)),
        choices=tuple(message.choices),
        json_schema=message.json_schema,
        wants_logprobs=bool(message.logprobs),
        conversation=message.conversation,
        forgets_conversation=bool(message.forget_conversation),
    )
