# SPDX-License-Identifier: Apache-2.0
"""A request, the pieces of its text, its answer and what the answer is based on, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from penguin_ros.dialogue import SaidMessage
from penguin_ros.errors import PenguinError
from penguin_ros.frame import FrameType


class Priority(IntEnum):
    """How urgent a job is; the lower value runs first."""

    QUESTION = 0
    RULE = 1
    """An evaluation of the rules of one camera that are due."""
    CAPTION = 2
    BACKGROUND = 3
    """Work that nobody has asked for yet, done when nothing else is to be done."""


class StopReason(IntEnum):
    """Why a text ended, with the numbers of penguin_msgs/Evidence."""

    NONE = 0
    STOP_TOKEN = 1
    MAX_TOKENS = 2
    REPETITION = 3
    DEADLINE = 4
    CANCELLED = 5
    ERROR = 6


@dataclass(frozen=True)
class Interval:
    """A stretch of camera time in the past, both ends included, in nanoseconds of message
    stamps.
    """

    start_ns: int
    end_ns: int


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image as the bytes of a JPEG or PNG file; `label`: what its sender calls the format, which
    errors quote.
    """

    content: bytes | memoryview
    label: str = ''


NEW_CONVERSATION = 'new'
NO_CAMERA = 'none'
"""The camera of a question that is about no picture at all, unless one is called so."""


@dataclass(frozen=True)
class SamplingChange:
    """How the tokens of one answer are chosen where that differs from the settings (section
    `generation`); None: as they say.

    The same `seed` gives the same answer. The first of the texts `stop` that comes ends the answer
    before it.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Request:
    """One caption or question, as it was asked.

    `max_tokens` 0 stands for the configured default. `deadline_ns` is a duration from receipt to
    the complete answer, measured on the steady clock; 0 stands for the configured default. `images`
    are those of the caller, used instead of a camera's frames, taken at `image_stamps_ns` where
    these are known.

    The answer is one of `choices`, or JSON that conforms to `json_schema`, where one of them is
    given. `conversation`: NEW_CONVERSATION, or the id of one to go on with; `forgets_conversation`
    ends it after this answer, or at once with an empty text.

    `dialogue` is the whole prompt instead of `text`, which then only stands for it, and of what a
    camera sees, whose name then only says which requests belong together. `top_logprobs`: with each
    token that many of the most probable ones.
    """

    id: str
    text: str
    priority: Priority = Priority.QUESTION
    camera: str = ''
    interval: Interval | None = None
    images: tuple[EncodedImage, ...] = ()
    max_tokens: int = 0
    deadline_ns: int = 0
    image_stamps_ns: tuple[int, ...] = ()
    choices: tuple[str, ...] = ()
    json_schema: str = ''
    wants_logprobs: bool = False
    conversation: str = ''
    forgets_conversation: bool = False
    dialogue: tuple[SaidMessage, ...] = ()
    sampling: SamplingChange = SamplingChange()
    top_logprobs: int = 0


@dataclass(frozen=True)
class TokenLogprob:
    """A token's text, U+FFFD for a part of a character, and the natural logarithm of its
    probability, before temperature and other sampling rules; `content`: its bytes, `top`: the most
    probable tokens in its place, the most probable first, where they were asked for.
    """

    token: str
    logprob: float
    content: bytes = b''
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class TextPiece:
    """A piece of a growing answer. `text` is all of it so far, `piece` what is new; `sequence`
    counts from 0 without gaps. `logprobs`: of the tokens since the piece before, where they are
    wanted.
    """

    sequence: int
    text: str
    piece: str
    logprobs: tuple[TokenLogprob, ...] = ()


Phase = Literal['encode', 'prefill', 'decode']


@dataclass
class GenerationStats:
    """What one generation has computed so far and how long that took. The generation loop counts;
    Evidence and its message carry a copy.

    `reused_tokens` of the `prompt_tokens`, and `reused_frames` of the frames, had been computed for
    earlier requests. `generated_tokens`: without the stop token. `forward_passes` of the network
    gave the tokens, one each without drafts; of `drafted_tokens` `accepted_tokens` were right.
    Durations in nanoseconds of the steady clock: the time inside steps only, not between them;
    `encode_ns` with the preparation of the frames.
    """

    prompt_tokens: int = 0
    visual_tokens: int = 0
    reused_tokens: int = 0
    reused_frames: int = 0
    generated_tokens: int = 0
    forward_passes: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    encode_ns: int = 0
    prefill_ns: int = 0
    decode_ns: int = 0

    def add_duration(self, phase: Phase, duration_ns: int) -> None:
        """Adds the time that a step of `phase` took."""
        name = f'{phase}_ns'
        setattr(self, name, getattr(self, name) + duration_ns)


@dataclass(frozen=True)
class FrameRef:
    """A frame that an answer was based on."""

    stamp_ns: int
    camera: str
    frame_id: str
    type: FrameType


@dataclass(frozen=True)
class Evidence:
    """What an answer was based on and what it took; durations in nanoseconds of the steady clock.

    `age_ns`: age of the newest frame, in camera time, when the first token left. `wait_ns`: from
    receipt to the start. `first_token_ns`: from receipt to the first token. `is_truncated`: frames
    or text were cut to fit, or the answer was cut short. `is_stale`: the newest frame was older
    than the configured limit. `frames_dropped`: frames of the camera that were dropped inside the
    clip's interval or since the last clip. `unchanged_since_ns`: for a caption that is repeated
    because nothing has changed, the stamp of the newest frame of the caption that it repeats;
    `end_ns` is then the stamp of the newest frame compared with it. 0: the text was made of these
    frames. `endpoint`: the remote engine that answered, '' for the own model; `fallback_reason`:
    why that answered although a remote engine was to. `stats` are those of the generation, at its
    end.
    """

    frames: tuple[FrameRef, ...] = ()
    start_ns: int = 0
    end_ns: int = 0
    age_ns: int = 0
    model_name: str = ''
    model_digest: str = ''
    backend: str = ''
    precision: str = ''
    wait_ns: int = 0
    first_token_ns: int = 0
    stop_reason: StopReason = StopReason.NONE
    is_truncated: bool = False
    is_stale: bool = False
    frames_dropped: int = 0
    unchanged_since_ns: int = 0
    endpoint: str = ''
    fallback_reason: str = ''
    stats: GenerationStats = field(default_factory=GenerationStats)


@dataclass(frozen=True)
class ChosenAnswer:
    """Which of a question's choices is the answer.

    `choice` is '' when `is_cannot_tell`. `probabilities` of the `choices` sum to 1; `cannot_tell`:
    that it cannot be told, against all choices together; `other_mass`: what is neither.
    """

    choice: str
    choices: tuple[str, ...]
    probabilities: tuple[float, ...]
    cannot_tell: float
    is_cannot_tell: bool
    other_mass: float


@dataclass(frozen=True)
class Answer:
    """The end of a request: the whole text, or as much as there was before `error`.

    `is_silent`: a caption that repeats the last one and is not published, since nothing has changed
    and no heartbeat is due. `chosen`: for a question with choices. `json`: for one with a schema,
    '' when the text was cut short. `confidence`: the probability of the choice, or the geometric
    mean of the probabilities of the tokens, 0 where it was not measured. `conversation`: its id, ''
    without one.
    """

    id: str
    question: str
    camera: str
    text: str
    evidence: Evidence = field(default_factory=Evidence)
    error: PenguinError | None = None
    is_silent: bool = False
    chosen: ChosenAnswer | None = None
    json: str = ''
    confidence: float = 0.0
    logprobs: tuple[TokenLogprob, ...] = ()
    conversation: str = ''
