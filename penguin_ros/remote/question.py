# SPDX-License-Identifier: Apache-2.0
"""What a remote engine is asked, and what it answers, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from penguin_ros.config import GenerationConfig
from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS, Frame, FrameType
from penguin_ros.remote.failure import FailedAttempt
from penguin_ros.request import ChosenAnswer, GenerationStats, StopReason


@dataclass(frozen=True, eq=False)
class RemoteFrame:
    """A frame as the model shall see it: its type, and its size (height, width) in pixels."""

    frame: Frame
    type: FrameType
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class RemoteQuestion:
    """A request as servers get it. `is_clip`: the frames are a video, by their stamps; otherwise
    they are single pictures.

    `is_caption`: it waits behind questions; `stream`: what belongs together, a node and its camera.
    `choices` and `json_schema` as in Request: only the dialect penguin has the answer's form.
    `first_ns` and `deadline_ns`: until when, on the steady clock, the first piece and the whole
    answer have to be there. `is_urged`: somebody else can answer, so that nothing is tried twice.
    """

    id: str
    text: str
    frames: tuple[RemoteFrame, ...]
    camera: str
    is_clip: bool
    is_caption: bool
    is_truncated: bool
    max_tokens: int
    first_ns: int
    deadline_ns: int
    stream: str = ''
    is_urged: bool = False
    stop: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    json_schema: str = ''
    generation: GenerationConfig = GenerationConfig()

    @property
    def is_typed(self) -> bool:
        """Whether the answer has a form."""
        return bool(self.choices or self.json_schema)

    @property
    def seconds(self) -> tuple[float, ...]:
        """Seconds of each frame since the first one."""
        start_ns = self.frames[0].frame.stamp_ns if self.frames else 0
        return tuple((each.frame.stamp_ns - start_ns) / NANOSECONDS for each in self.frames)


@dataclass(frozen=True)
class Answerer:
    """Who answered: the endpoint, what is spoken with it, and the model as the server names it."""

    endpoint: str
    dialect: str
    model: str
    digest: str = ''
    backend: str = ''
    precision: str = ''


@dataclass(frozen=True)
class TypedAnswer:
    """What a program can use of an answer, as in Answer."""

    chosen: ChosenAnswer | None = None
    json: str = ''
    confidence: float = 0.0


@dataclass(frozen=True)
class RemoteAnswer:
    """The end of a remote question: the text, whole, or as much as came before `error`.
    `typed` where the answer has a form; `failed`: the attempts before.
    """

    text: str = ''
    answerer: Answerer | None = None
    stop_reason: StopReason = StopReason.NONE
    stats: GenerationStats = field(default_factory=GenerationStats)
    error: PenguinError | None = None
    typed: TypedAnswer | None = None
    failed: tuple[FailedAttempt, ...] = ()

    @property
    def failures(self) -> str:
        """What went wrong, in words; '' when the first attempt was good."""
        return '; '.join(map(str, self.failed))
