# SPDX-License-Identifier: Apache-2.0
"""Captions and repeated questions are drafted from the last text given to the same prompt, and stay
what they are without.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.live_pipeline import TEXT, LivePipeline

from penguin_ros.request import Answer, StopReason
from penguin_ros.settings import with_values

OTHER = 'A bear swims under the ice.'


@pytest.fixture
def live(tiny_checkpoint: Path) -> Iterator[LivePipeline]:
    with LivePipeline(tiny_checkpoint, ('front', 'rear')) as opened:
        opened.frames(0)
        opened.frames(0, camera='rear')
        yield opened


def caption(live: LivePipeline, camera: str = 'front') -> Answer:
    answer = live.wait(live.caption(camera))
    assert answer.error is None and answer.evidence.stop_reason is StopReason.STOP_TOKEN
    return answer


def script(live: LivePipeline, text: str) -> None:
    """The model says this from now on."""
    assert live.backend is not None and live.pipeline._answering.model is not None
    source = live.pipeline._answering.model.source
    live.backend.script = [*source.tokenizer.encode_text(text), source.shape.stop_token_ids[0]]


def drafted(answer: Answer) -> bool:
    """Fewer passes than tokens, the stop token included."""
    evidence = answer.evidence
    assert (
        evidence.stats.forward_passes + evidence.stats.accepted_tokens
        >= evidence.stats.generated_tokens + 1
    )
    return evidence.stats.forward_passes < evidence.stats.generated_tokens + 1


def test_the_second_caption_of_a_scene_takes_few_passes(live: LivePipeline) -> None:
    first, second = caption(live), caption(live)
    assert first.text == second.text == TEXT
    assert first.evidence.stats.forward_passes > 2 * second.evidence.stats.forward_passes
    assert second.evidence.stats.accepted_tokens > 0.8 * second.evidence.stats.generated_tokens
    assert second.evidence.stats.drafted_tokens >= second.evidence.stats.accepted_tokens


def test_a_caption_that_changes_is_what_the_model_says_now(live: LivePipeline) -> None:
    caption(live)
    script(live, OTHER)
    changed = caption(live)
    assert changed.text == OTHER and drafted(changed)


def test_cameras_do_not_draft_for_each_other(live: LivePipeline) -> None:
    caption(live)
    alone = caption(live, 'rear')
    again = caption(live, 'rear')
    assert alone.evidence.stats.forward_passes > 2 * again.evidence.stats.forward_passes


def test_a_question_asked_again_is_drafted_and_another_one_is_not(live: LivePipeline) -> None:
    answers = [
        live.answer(f'{number}', text)
        for number, text in enumerate(['Where is it?', 'What is it?', 'Where is it?'])
    ]
    assert [answer.text for answer in answers] == [TEXT] * 3
    passes = [answer.evidence.stats.forward_passes for answer in answers]
    assert passes[2] < passes[1] / 2


def test_pieces_of_a_drafted_answer_make_up_its_text(live: LivePipeline) -> None:
    live.answer('first')
    answer = live.answer('second')
    pieces = live.pieces['second']
    assert drafted(answer) and 0 < len(pieces) < len(live.pieces['first'])
    assert ''.join(piece.piece for piece in pieces) == answer.text == pieces[-1].text == TEXT
    assert [piece.sequence for piece in pieces] == list(range(len(pieces)))


def test_a_caption_cut_by_its_deadline_is_followed_as_far_as_it_went(live: LivePipeline) -> None:
    first, cut = caption(live), live.ask('cut', deadline_ns=10**9)
    assert live.wait(cut).text == TEXT
    live.gate.close('decode')
    partial = live.ask('partial', 'Who?', deadline_ns=10**9)
    live.gate.wait_arrived()
    live.steady.turn(2 * 10**9)
    live.gate.open()
    assert (
        live.wait(partial).evidence.stop_reason is StopReason.DEADLINE
        and live.wait(partial).text in TEXT
    )
    assert live.answer('whole', 'Who?').text == TEXT == first.text


def test_drafting_can_be_switched_off_while_active(live: LivePipeline) -> None:
    caption(live)
    live.pipeline.configure(with_values(live.config, {'generation.draft_tokens': 0}))
    plain = caption(live)
    assert (
        plain.evidence.stats.forward_passes == plain.evidence.stats.generated_tokens + 1
        and plain.evidence.stats.drafted_tokens == 0
    )
    live.pipeline.configure(live.config)
    assert drafted(caption(live))


@pytest.mark.parametrize(
    'settings',
    [{'generation__temperature': 1.0}, {'generation__temperature': 0.5, 'generation__top_k': 3}],
)
def test_sampled_captions_are_the_same_with_and_without_drafts(
    tiny_checkpoint: Path, settings: dict[str, Any]
) -> None:
    texts = []
    for draft_tokens in (0, 15):
        with LivePipeline(
            tiny_checkpoint, generation__draft_tokens=draft_tokens, **settings
        ) as live:
            live.frames(0)
            answers = [live.wait(live.caption()) for _ in range(4)]
            texts.append([answer.text for answer in answers])
            assert (answers[-1].evidence.stats.drafted_tokens > 0) == (draft_tokens > 0)
    assert texts[0] == texts[1]
