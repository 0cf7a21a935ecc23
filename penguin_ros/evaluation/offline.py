# SPDX-License-Identifier: Apache-2.0
"""A pipeline for verbs that ask about clips they bring, one question after the other, without ROS.

The only clock is that of the clips.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from penguin_ros.config import PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import PenguinError, SettingError
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.frame import NANOSECONDS, Frame, Image
from penguin_ros.frame_sampling import evenly
from penguin_ros.request import Answer, Interval, Request
from penguin_ros.settings import with_values

if TYPE_CHECKING:
    from penguin_ros.pipeline_status import ModelDescription

CAMERA = 'recording'
LONGEST_S = 86400.0
MANY = 2**30


def offline(config: PenguinConfig) -> PenguinConfig:
    """The settings for a recording: it waits for the model, so no deadline applies, and the buffer
    holds a clip and the frame after it.
    """
    return with_values(
        config,
        {
            'question.deadline': LONGEST_S,
            'question.max_tokens': config.caption.max_tokens,
            'buffer.seconds': min(LONGEST_S, config.clip.seconds * 2 + 1),
            'buffer.max_bytes': 2**40,
            'question.max_characters': 1000000,
        },
    )


ANY_LENGTH = with_values(PenguinConfig(), {'buffer.seconds': LONGEST_S})
"""Settings that a clip of any length fits to: what a live camera keeps is no limit here."""


def with_model(config: PenguinConfig, needed_by: str, fix: str) -> PenguinConfig:
    """The settings with a bundle where the backend needs one.

    Where they name no model, SettingError says that `needed_by` needs one and to type `fix`.
    """
    model = config.model
    if not model.checkpoint and not model.bundle:
        raise SettingError('no model given', f'{needed_by} a checkpoint or a bundle', fix)
    return replace(config, model=with_bundle(model))


class ClipThinner:
    """Collects the frames of a clip and keeps only those that a request will use, and few more, so
    that memory does not grow with the length of the clip.

    `planned` is how many frames a whole clip has, `limit` how many are used. Of a whole clip those
    are kept that thinning it afterwards would choose; of one that ends early, those nearest to them
    among every other, fourth, eighth and so on.
    """

    def __init__(self, planned: int, limit: int) -> None:
        self._limit = limit
        self._wanted = frozenset(evenly(planned, limit))
        self._clear()

    def _clear(self) -> None:
        self._frames: dict[int, Frame] = {}
        self._count = 0
        self._stride = 1

    @property
    def newest(self) -> Frame | None:
        """The frame that was added last."""
        return self._frames[self._count - 1] if self._count else None

    def add(self, frame: Frame) -> None:
        """Takes the next frame."""
        self._frames[self._count] = frame
        self._count += 1
        if len(self._frames) > 3 * self._limit + 1:
            self._stride *= 2
            self._frames = {
                index: each for index, each in self._frames.items() if self._is_kept(index)
            }

    def take(self) -> list[Frame]:
        """Returns the frames of the clip and begins another."""
        kept = sorted(self._frames)
        wanted = evenly(self._count, self._limit)
        nearest = {min(kept, key=lambda index: abs(index - each)) for each in wanted}
        frames = [self._frames[index] for index in sorted(nearest)]
        self._clear()
        return frames

    def _is_kept(self, index: int) -> bool:
        is_wanted = index in self._wanted or index % self._stride == 0
        return is_wanted or index == self._count - 1


def clip_thinner(config: PenguinConfig) -> ClipThinner:
    """Returns what collects the clips of a recording with these settings."""
    planned = max(1, round(config.clip.seconds * config.clip.fps))
    return ClipThinner(planned, config.clip.max_frames)


def cut_clips(
    frames: Iterable[tuple[int, Image]],
    seconds: float,
    start_s: float,
    end_s: float,
    origin_ns: int | None = None,
    thinner: ClipThinner | None = None,
) -> Iterator[tuple[int, list[Frame]]]:
    """Cuts a recording, from `start_s` to `end_s`, into consecutive clips of `seconds`; a change of
    the size of the images starts a new one.

    `frames` are (time in nanoseconds, image). Yields (the time that counts as zero, clip): that is
    `origin_ns`, or else the time of the first frame. `thinner` says which frames of a clip are
    kept; without one all are.
    """
    clip, number = thinner or ClipThinner(1, MANY), 0
    for time_ns, image in frames:
        origin_ns = time_ns if origin_ns is None else origin_ns
        since_start = (time_ns - origin_ns) / NANOSECONDS - start_s
        if since_start < 0:
            continue
        if since_start + start_s >= end_s:
            break
        before = clip.newest
        if before and (int(since_start / seconds) != number or before.image.shape != image.shape):
            yield origin_ns, clip.take()
        number = int(since_start / seconds)
        clip.add(Frame(time_ns, image, CAMERA))
    if clip.newest and origin_ns is not None:
        yield origin_ns, clip.take()


class OfflineRunner:
    """A pipeline that answers one question after the other; its present is the newest frame it was
    given.
    """

    def __init__(self, config: PenguinConfig) -> None:
        from penguin_ros.pipeline import Pipeline  # late, so that the help of a verb comes at once

        self._config = config
        self._now_ns = 0
        self._count = 0
        self._interval = Interval(0, 0)
        self._pipeline = Pipeline(config, [CAMERA], now_ns=lambda: self._now_ns)
        self.facts: ModelDescription | None = None

    def __enter__(self) -> OfflineRunner:
        try:
            facts = self.facts = self._pipeline.open(progress=status_line)
            self._pipeline.activate()
        except BaseException:
            self._pipeline.close()
            raise
        status_line(f'{facts.name}: {facts.backend}, {facts.device}, {facts.precision}')
        return self

    def __exit__(self, *_: object) -> None:
        self._pipeline.close()

    @property
    def failure(self) -> PenguinError | None:
        """Why nothing more can be asked in this process; None while it can."""
        return self._pipeline.status().worker.failure

    def show(self, clip: Sequence[Frame]) -> None:
        """Shows frames of the camera CAMERA, newer than all before; the next question is about
        them.
        """
        for frame in clip:
            self._now_ns = frame.stamp_ns
            self._pipeline.add_frame(frame)
        self._interval = Interval(clip[0].stamp_ns, clip[-1].stamp_ns)

    def caption(self, clip: Sequence[Frame]) -> Answer:
        """Shows the clip and blocks until its caption is complete; Ctrl-C interrupts."""
        self.show(clip)
        return self.ask(self._config.caption.prompt)

    def ask(self, text: str) -> Answer:
        """Asks about the clip shown last and blocks until the answer is complete; Ctrl-C
        interrupts.
        """
        answers: SimpleQueue[Answer] = SimpleQueue()
        self._count += 1
        request = Request(
            f'clip-{self._count}',
            text,
            camera=CAMERA,
            interval=self._interval,
            max_tokens=self._config.caption.max_tokens,
        )
        try:
            self._pipeline.submit(request, answers.put)
        except PenguinError as error:
            return Answer(request.id, request.text, CAMERA, '', error=error)
        while True:
            try:
                return answers.get(timeout=0.2)
            except Empty:
                continue
