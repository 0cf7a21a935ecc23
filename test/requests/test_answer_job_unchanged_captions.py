# SPDX-License-Identifier: Apache-2.0
"""With the gate, the model does not run while nothing changes, a heartbeat is published in time,
and every change is captioned at once.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.live_pipeline import MS, SECOND, START, TEXT, offsets
from support.live_window import LiveWindow

from penguin_ros.errors import StaleFrames
from penguin_ros.request import Answer

PERIOD_MS = 1000


class Captioned(LiveWindow):
    """A caption every second, of two frames each."""

    def __init__(self, checkpoint: Path, **values: object) -> None:
        super().__init__(
            checkpoint,
            **{'caption__gate': True, 'caption__period': 1.0, 'caption__heartbeat': 3.0, **values},
        )
        self.ms = 0

    def turn(self, *scenes: int) -> Answer:
        """The next second, with frames of these scenes."""
        for number, scene in enumerate(scenes):
            self.scene(self.ms + number * 500, scene=scene)
        self.ms += PERIOD_MS
        self.steady.turn(PERIOD_MS * MS)
        return self.wait(self.caption())


@pytest.mark.parametrize('window', ['recent', 'sliding', 'growing'])
def test_while_nothing_changes_the_last_caption_goes_out_at_the_heartbeat_without_the_model(
    tiny_checkpoint: Path, window: str
) -> None:
    with Captioned(tiny_checkpoint, window=window) as live:
        first = live.turn(0, 0)
        passes = live.steps.count('prefill') + live.steps.count('decode')
        later = [live.turn(0, 0) for _ in range(7)]
        assert live.steps.count('prefill') + live.steps.count('decode') == passes
        assert [answer.is_silent for answer in later] == [
            True,
            True,
            False,
            True,
            True,
            False,
            True,
        ]
        assert (
            {answer.text for answer in later} == {TEXT}
            and not first.is_silent
            and not first.evidence.unchanged_since_ns
        )
        counts, status = live.pipeline.status().counts, live.pipeline.status().windows['front']
        assert (status.unchanged, status.repeated, counts.captions_finished) == (7, 2, 8)


def test_the_evidence_of_a_repeated_caption_says_since_when_and_until_when(
    tiny_checkpoint: Path,
) -> None:
    with Captioned(tiny_checkpoint) as live:
        first = live.turn(0, 0)
        live.turn(0, 0)
        repeated = live.turn(0, 0).evidence
        assert repeated.frames == first.evidence.frames and offsets(first) == [0, 500]
        assert (repeated.start_ns, repeated.unchanged_since_ns, repeated.end_ns) == (
            START,
            START + 500 * MS,
            START + 2500 * MS,
        )
        assert (
            repeated.stats.generated_tokens,
            repeated.stats.prompt_tokens,
            repeated.stats.prefill_ns,
            repeated.stats.decode_ns,
        ) == (0, 0, 0, 0)
        assert (
            repeated.model_digest == first.evidence.model_digest
            and repeated.stop_reason is first.evidence.stop_reason
        )


def test_a_change_is_captioned_by_the_next_caption_even_if_it_is_over_by_then(
    tiny_checkpoint: Path,
) -> None:
    with Captioned(tiny_checkpoint) as live:
        live.turn(0, 0)
        assert live.turn(0, 0).is_silent
        changed = live.turn(1, 0)
        assert (
            not changed.is_silent
            and not changed.evidence.unchanged_since_ns
            and 2000 in offsets(changed)
        )


def test_what_was_said_to_be_unchanged_is_not_captioned_again(tiny_checkpoint: Path) -> None:
    with Captioned(tiny_checkpoint, clip__overlap=1) as live:
        for _ in range(4):
            live.turn(0, 0)
        assert offsets(live.turn(1, 1)) == [3500, 4000, 4500]


def test_a_change_while_a_caption_is_made_is_captioned_by_the_next_one(
    tiny_checkpoint: Path,
) -> None:
    with Captioned(tiny_checkpoint) as live:
        live.scene(0, 500)
        live.gate.close('decode')
        first = live.caption()
        live.gate.wait_arrived()
        live.scene(1000, scene=1)
        live.scene(1500)
        live.gate.open()
        live.wait(first)
        live.ms = 2000
        assert not live.turn(0, 0).evidence.unchanged_since_ns
        assert live.turn(0, 0).evidence.unchanged_since_ns


def test_another_prompt_a_jump_of_time_and_a_pause_of_the_node_are_no_reason_for_silence(
    tiny_checkpoint: Path,
) -> None:
    with Captioned(tiny_checkpoint) as live:
        live.turn(0, 0)
        live.config = live.config.__class__(
            **{
                **vars(live.config),
                'caption': live.config.caption.__class__(
                    **{**vars(live.config.caption), 'prompt': 'What is new?'}
                ),
            }
        )
        live.pipeline.configure(live.config)
        assert (
            not live.turn(0, 0).evidence.unchanged_since_ns
            and live.turn(0, 0).evidence.unchanged_since_ns
        )
        live.pipeline.flush('time jumped')
        assert (
            not live.turn(0, 0).evidence.unchanged_since_ns
            and live.turn(0, 0).evidence.unchanged_since_ns
        )
        live.pipeline.deactivate()
        live.pipeline.activate()
        assert not live.turn(0, 0).evidence.unchanged_since_ns


def test_a_caption_that_failed_is_made_again_although_nothing_changed(
    tiny_checkpoint: Path,
) -> None:
    with Captioned(tiny_checkpoint) as live:
        live.scene(0, 500)
        live.gate.close('decode')
        cancelled = live.caption()
        live.gate.wait_arrived()
        live.pipeline.cancel(cancelled)
        live.gate.open()
        assert live.wait(cancelled).error is not None
        live.ms = 1000
        answer = live.turn(0, 0)
        assert answer.text == TEXT and not answer.evidence.unchanged_since_ns


def test_a_camera_that_fell_silent_is_stale_and_not_unchanged(tiny_checkpoint: Path) -> None:
    with Captioned(tiny_checkpoint) as live:
        live.turn(0, 0)
        live.now.turn(10 * SECOND)
        assert isinstance(live.wait(live.caption()).error, StaleFrames)


def test_without_the_gate_every_caption_is_made(tiny_checkpoint: Path) -> None:
    with Captioned(tiny_checkpoint, caption__gate=False) as live:
        assert not any(live.turn(0, 0).evidence.unchanged_since_ns for _ in range(4))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(['recent', 'growing']),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=8),
)
def test_every_change_causes_a_caption_in_its_period_and_nothing_else_does(
    tiny_checkpoint: Path, window: str, turns: list[tuple[int, int]]
) -> None:
    with Captioned(tiny_checkpoint, window=window, clip__seconds=1.0) as live:
        described: int | None = None
        for scenes in turns:
            answer = live.turn(*scenes)
            assert (answer.evidence.unchanged_since_ns == 0) == any(
                scene != described for scene in scenes
            )
            if not answer.evidence.unchanged_since_ns:
                described = scenes[-1]
