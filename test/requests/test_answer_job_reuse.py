# SPDX-License-Identifier: Apache-2.0
"""Questions and captions reuse what they can, say how much, and forget it when they must."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.encoded_images import encoded
from support.live_pipeline import START, TEXT, LivePipeline, past

from penguin_ros.frame import Frame


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (56, 84, 3), dtype=np.uint8)


def test_ten_questions_on_one_clip_encode_it_once(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0, 500, 1000)
        first = live.answer('first').evidence
        encodes = live.steps.count('encode')
        assert (first.stats.reused_tokens, first.stats.reused_frames) == (0, 0) and encodes > 0
        for number in range(10):
            evidence = live.answer(f'q{number}', f'Is it {number}?').evidence
            assert (
                evidence.stats.reused_frames == 3
                and evidence.stats.reused_tokens > evidence.stats.visual_tokens
            )
        assert live.steps.count('encode') == encodes
        caches = live.pipeline.status().caches
        assert (
            caches.encoder_cache.encoded == 3
            and caches.prefix_cache.kept_slots == 1
            and caches.prefix_cache.continued == 10
        )


def test_a_caption_and_a_question_share_their_clip_either_way(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0, 500)
        live.wait(live.caption())
        assert live.answer().evidence.stats.reused_frames == 2
        assert live.wait(live.caption()).evidence.stats.reused_frames == 2
        assert live.answers['q'][0].text == TEXT


def test_images_of_a_caller_are_encoded_once(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.answer('first', images=(encoded(noise(1)), encoded(noise(2))))
        again = live.answer(
            'again', 'What else?', images=(encoded(noise(1)), encoded(noise(2)))
        ).evidence
        assert again.stats.reused_frames == 2 and again.stats.reused_tokens > 0
        other = live.answer('other', images=(encoded(noise(3)), encoded(noise(1)))).evidence
        assert other.stats.reused_frames == 1


def test_a_jump_of_time_and_a_deactivation_forget_everything(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.answer('first')
        live.pipeline.flush('the clock jumped')
        assert live.pipeline.status().caches.encoder_cache.frames == 0
        live.pipeline.add_frame(Frame(START, np.full((56, 84, 3), 100, np.uint8), 'front'))
        assert live.answer('second').evidence.stats.reused_frames == 0
        assert live.pipeline.deactivate(timeout_s=10.0)
        live.pipeline.activate()
        again = live.answer('third').evidence
        assert (again.stats.reused_frames, again.stats.reused_tokens) == (0, 0)


def test_without_reuse_every_request_computes_everything(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint, model__prefix_caching=False) as live:
        live.frames(0, 500)
        for name in ('first', 'second'):
            evidence = live.answer(name).evidence
            assert (evidence.stats.reused_tokens, evidence.stats.reused_frames) == (0, 0)
        assert (
            live.pipeline.status().caches.prefix_cache.kept_slots == 0
            and live.steps.count('encode') == 4
        )


def test_features_are_kept_within_their_bytes(tiny_checkpoint: Path) -> None:
    with LivePipeline(
        tiny_checkpoint, model__encoder_cache_bytes=20_000, model__kv_slots=2
    ) as live:
        live.frames(*range(0, 4000, 500))
        for number in range(4):
            live.answer(str(number), interval=past(number * 1000, number * 1000 + 500))
        features = live.pipeline.status().caches.encoder_cache
        assert 0 < features.bytes <= features.max_bytes == 20_000 and features.evicted > 0
