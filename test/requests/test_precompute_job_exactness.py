# SPDX-License-Identifier: Apache-2.0
"""Whatever is cached, precomputed or taken over, each answer is that of a pipeline that recomputes
everything.

The scripted backend continues a prompt by a hash of all that stands in the slot, so that one wrong
position changes the text.
"""

from __future__ import annotations

import itertools
import random
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.live_window import LiveWindow
from support.slow_parts import sampled
from support.window_streams import image

from penguin_ros.request import Answer
from penguin_ros.steps import run_to_end


class Twins:
    """Two pipelines to which the same happens; the second one caches and precomputes nothing.

    Frames enter a window when the worker comes to them, so what a precompute of the first one
    takes, the second one takes too.
    """

    def __init__(self, checkpoint: Path, stack: ExitStack, window: str, precompute: str) -> None:
        values = {
            'window': window,
            'cameras': ('front', 'rear'),
            'clip__max_frames': 7,
            'visual__max_visual_tokens': 60,
            'caption__max_tokens': 6,
            'question__max_tokens': 6,
            'clip__overlap': 2,
        }
        self.both = [
            stack.enter_context(LiveWindow(checkpoint, precompute=precompute, **values)),
            stack.enter_context(
                LiveWindow(checkpoint, precompute='off', model__prefix_caching=False, **values)
            ),
        ]
        self.is_precomputing = precompute != 'off'
        for live in self.both:
            assert live.backend is not None
            live.backend.script = ()

    def scene(self, ms: int, scene: int, camera: str) -> None:
        for live in self.both:
            live.scene(ms, scene=scene, camera=camera, size=(84, 112))
            live.wait_idle()
        fresh = self.both[1].pipeline
        if self.is_precomputing and fresh._answering.model is not None:
            rules = fresh._answering.model.window_rules(self.both[1].config)
            run_to_end(fresh._cameras[camera].present_clip(rules))

    def ask(self, request_id: str, camera: str) -> None:
        text = f'What is there, {request_id[-1]}?'
        self.compare([live.answer(request_id, text, camera=camera) for live in self.both])

    def caption(self, camera: str) -> None:
        self.compare([live.wait(live.caption(camera)) for live in self.both])

    def compare(self, answers: list[Answer]) -> None:
        kept, fresh = answers
        assert (
            kept.error is None and fresh.error is None and fresh.evidence.stats.reused_frames == 0
        )
        assert (
            kept.evidence.frames == fresh.evidence.frames
            and kept.evidence.stats.prompt_tokens == fresh.evidence.stats.prompt_tokens
        )
        assert (
            kept.text == fresh.text
            and kept.evidence.stats.generated_tokens == fresh.evidence.stats.generated_tokens
        )


@pytest.mark.parametrize(
    ('window', 'precompute'),
    sampled(
        itertools.product(['sliding', 'growing'], ['off', 'encode', 'prefill']),
        [('growing', 'prefill')],
    ),
)
def test_answers_are_those_of_a_pipeline_that_recomputes_everything(
    tiny_checkpoint: Path, window: str, precompute: str
) -> None:
    chance = random.Random(f'{window} {precompute}')
    with ExitStack() as stack:
        twins, scene, ms = Twins(tiny_checkpoint, stack, window, precompute), 0, 0
        for number in range(40):
            ms += chance.choice([500, 500, 480, 1500])
            scene += chance.random() < 0.2
            for camera in ('front', 'rear'):
                twins.scene(ms, scene if camera == 'front' else 0, camera)
            camera = chance.choice(['front', 'front', 'rear'])
            if chance.random() < 0.4:
                twins.caption(camera)
            elif chance.random() < 0.5:
                twins.ask(f'question-{number}', camera)
            if chance.random() < 0.04:
                for live in twins.both:
                    live.pipeline.flush('time jumped')
                for camera in ('front', 'rear'):
                    twins.scene(ms + 250, scene, camera)
        counts = twins.both[0].pipeline.status().caches
        assert counts.encoder_cache.hits > 15 and (
            window == 'sliding' or counts.prefix_cache.reused > 0
        )


def test_the_images_of_these_tests_differ_from_frame_to_frame() -> None:
    assert (image(0, noise=1) != image(0, noise=2)).any()
