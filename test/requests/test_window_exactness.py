# SPDX-License-Identifier: Apache-2.0
"""Whatever is kept, encoded ahead or taken over: each answer is the one of a pipeline that computes
everything anew.

The scripted backend continues a prompt by a hash of all that stands in the slot, so that one wrong
position changes the text.
"""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.live_window import LiveWindow
from support.window_streams import image

from penguin_ros.request import Answer
from penguin_ros.steps import run_to_end


class Twins:
    """Two pipelines to which the same happens; the second one keeps nothing and computes nothing
    ahead.

    Frames enter a window when the worker comes to them, so those that the first one takes ahead,
    the second one takes too.
    """

    def __init__(self, checkpoint: Path, stack: ExitStack, window: str, ahead: str) -> None:
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
            stack.enter_context(LiveWindow(checkpoint, ahead=ahead, **values)),
            stack.enter_context(
                LiveWindow(checkpoint, ahead='off', model__prefix_caching=False, **values)
            ),
        ]
        self.is_ahead = ahead != 'off'
        for live in self.both:
            assert live.backend is not None
            live.backend.script = ()

    def scene(self, ms: int, scene: int, camera: str) -> None:
        for live in self.both:
            live.scene(ms, scene=scene, camera=camera, size=(84, 112))
            live.wait_idle()
        anew = self.both[1].pipeline
        if self.is_ahead and anew._model is not None:
            rules = anew._model.window_rules(self.both[1].config)
            run_to_end(anew._cameras[camera].present_clip(rules))

    def ask(self, request_id: str, camera: str) -> None:
        text = f'What is there, {request_id[-1]}?'
        self.compare([live.answer(request_id, text, camera=camera) for live in self.both])

    def caption(self, camera: str) -> None:
        self.compare([live.wait(live.caption(camera)) for live in self.both])

    def compare(self, answers: list[Answer]) -> None:
        kept, anew = answers
        assert kept.error is None and anew.error is None and anew.evidence.stats.reused_frames == 0
        assert (
            kept.evidence.frames == anew.evidence.frames
            and kept.evidence.stats.prompt_tokens == anew.evidence.stats.prompt_tokens
        )
        assert (
            kept.text == anew.text
            and kept.evidence.stats.generated_tokens == anew.evidence.stats.generated_tokens
        )


@pytest.mark.parametrize('ahead', ['off', 'encode', 'prefill'])
@pytest.mark.parametrize('window', ['sliding', 'growing'])
def test_answers_are_those_of_a_pipeline_that_computes_everything_anew(
    tiny_checkpoint: Path, window: str, ahead: str
) -> None:
    chance = random.Random(f'{window} {ahead}')
    with ExitStack() as stack:
        twins, scene, ms = Twins(tiny_checkpoint, stack, window, ahead), 0, 0
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


def test_the_pictures_of_these_tests_differ_from_frame_to_frame() -> None:
    assert (image(0, noise=1) != image(0, noise=2)).any()
