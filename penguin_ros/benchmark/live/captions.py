# SPDX-License-Identifier: Apache-2.0
"""A caption every second of a camera's window, as fast as the model can make them: recomputed,
with reuse, with drafts, and with the gate.

Each variant has a window of its own that gets the same frames, so that the clips are the same. With
the gate they may differ, since a caption that is not made changes what the next one must cover.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from penguin_ros.benchmark.live.clips import plain
from penguin_ros.benchmark.live.scenes import CAMERA, Stream
from penguin_ros.benchmark.live.tasks import JsonObject
from penguin_ros.benchmark.live.texts import Samples, TextBench, TimedText
from penguin_ros.evaluation.agreement import agreement, worst
from penguin_ros.frame import NANOSECONDS
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.speculative.draft_history import DraftHistory
from penguin_ros.request import Answer
from penguin_ros.steps import run_to_end
from penguin_ros.text import cleaned
from penguin_ros.window.camera import Camera
from penguin_ros.window.camera_window import ChosenClip

MOST_CAPTIONS, FEW_CAPTIONS = 20, 3
"""Captions of a scene by default; few of a slow model."""

RECOMPUTE, REUSE, DRAFTS, GATE = 'recompute', 'reuse', 'reuse, drafts', 'reuse, drafts, gate'


@dataclass(frozen=True)
class CaptionVariant:
    """One way to make the captions of a scene."""

    name: str
    is_drafted: bool = False
    is_gated: bool = False


VARIANTS = (
    CaptionVariant(RECOMPUTE),
    CaptionVariant(REUSE),
    CaptionVariant(DRAFTS, True),
    CaptionVariant(GATE, True, True),
)


class CaptionRuns:
    """All variants over all scenes."""

    def __init__(self, bench: TextBench) -> None:
        self._bench = bench
        self._question = cleaned(bench.config.caption.prompt)

    def all(self, streams: Sequence[Stream]) -> JsonObject:
        """Returns `captions`, a record per scene and variant, and the `texts` of each scene, for
        drafts at the costs of another model.

        Texts of a fixed number of tokens are not drafted: what random weights say proves nothing.
        """
        records: list[JsonObject] = []
        texts: JsonObject = {}
        for stream in streams:
            reference: list[TimedText | None] = []
            for variant in VARIANTS:
                if variant.is_drafted and self._bench.task.tokens:
                    continue
                made = self._made(stream, variant)
                is_compared = bool(reference) and not variant.is_gated
                facts = self._record(made, reference if is_compared else [])
                source = {'scene': stream.scene, 'source': stream.source, 'course': variant.name}
                records.append({**source, **facts})
                reference = reference or made
            texts[stream.scene] = [self._trace(text) for text in reference if text is not None]
        return {'captions': records, 'texts': texts}

    def _made(self, stream: Stream, variant: CaptionVariant) -> list[TimedText | None]:
        """Makes a text per second; None where nothing had changed."""
        if variant.name == RECOMPUTE:
            return [
                self._caption(self._bench.plain, found, None)
                for found in self._clips(stream, variant)
            ]
        with self._bench.kept() as caches:
            drafts = DraftHistory() if variant.is_drafted else None
            return [self._caption(caches, found, drafts) for found in self._clips(stream, variant)]

    def _clips(self, stream: Stream, variant: CaptionVariant) -> Iterator[ChosenClip | None]:
        """Yields what the window holds at every second; None where the gate finds no change."""
        config = self._bench.config
        config = replace(config, caption=replace(config.caption, gate=variant.is_gated))
        now_ns = [0]
        camera = Camera(CAMERA, config, lambda: now_ns[0], lambda: now_ns[0])
        rules = self._bench.loaded.window_rules(config)
        last = len(stream.frames) - 1
        for index, frame in enumerate(stream.frames):
            now_ns[0] = frame.stamp_ns
            camera.add(frame)
            found = run_to_end(camera.present_clip(rules))
            is_second = (
                index == last
                or stream.frames[index + 1].stamp_ns // NANOSECONDS > frame.stamp_ns // NANOSECONDS
            )
            if is_second and index < self._count * config.clip.fps:
                assert found is not None
                begun = camera.begin_caption(self._question, found.clip, config.caption)
                yield found if begun.repeated is None else None
                answer = Answer('', self._question, CAMERA, '')
                camera.end_caption(begun, answer, config.caption)

    @property
    def _count(self) -> int:
        return self._bench.task.captions or (FEW_CAPTIONS if self._bench.is_slow else MOST_CAPTIONS)

    def _caption(
        self, caches: Caches, found: ChosenClip | None, drafts: DraftHistory | None
    ) -> TimedText | None:
        """Makes a caption as AnswerJob does, with drafts from the last caption of the camera."""
        if found is None:
            return None
        record = drafts.for_prompt((CAMERA, self._question)) if drafts else None
        text = self._bench.text(caches, found, self._question, record)
        if drafts is not None and record is not None:
            record.keep(text.output.token_ids, text.output.is_complete)
        return text

    def _record(
        self, made: Sequence[TimedText | None], reference: Sequence[TimedText | None]
    ) -> JsonObject:
        samples = [text.samples for text in made if text is not None]
        agreements = [
            agreement(ours.tokens, theirs.tokens, self._bench.rounding or 0.0)
            for ours, theirs in zip(made, reference, strict=False)
            if ours is not None and theirs is not None
        ]
        return {
            'seconds': len(made),
            'made': len(samples),
            **means(samples),
            'agreement': plain(worst(agreements)),
        }

    def _trace(self, text: TimedText) -> JsonObject:
        ids = text.inputs.prompt.token_ids
        return {
            'prompt_ids': ids[ids != text.inputs.image_token_id].tolist(),
            'ids': list(text.tokens.ids),
            'stop_ids': list(self._bench.loaded.source.shape.stop_token_ids),
        }


def means(samples: Sequence[Samples]) -> Samples:
    """The mean of each value over the captions that were made."""
    return (
        {name: sum(each[name] for each in samples) / len(samples) for name in samples[0]}
        if samples
        else {}
    )
