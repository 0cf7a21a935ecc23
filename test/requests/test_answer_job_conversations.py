# SPDX-License-Identifier: Apache-2.0
"""Conversations through the pipeline: a later turn sees the earlier ones and their frames, costs
its own tokens, and nothing is kept longer than is said.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.encoded_images import encoded
from support.live_pipeline import MS, START, LivePipeline, offsets

from penguin_ros.errors import (
    ClockJumped,
    InvalidRequest,
    RequestCancelled,
    UnknownConversation,
)
from penguin_ros.request import Answer

PNG = encoded(np.arange(56 * 84 * 3, dtype=np.uint8).reshape(56, 84, 3))


def prompts(live: LivePipeline) -> list[str]:
    """The text of what each slot in use holds; image tokens are left out."""
    assert live.backend is not None
    tokenizer = live.pipeline._loaded().source.tokenizer
    names = {number: name for name, number in tokenizer._markup.items()}
    return [
        ''.join(
            '' if names.get(each) == '<image>' else names.get(each) or tokenizer.decode([each])
            for each in ids
        )
        for ids in live.backend.held().values()
    ]


def begun(live: LivePipeline, text: str = 'What is there?', **facts: object) -> Answer:
    answer = live.answer(f'first {len(live.ended)}', text, conversation='new', **facts)
    assert answer.error is None and len(answer.conversation) >= 20
    return answer


def test_a_follow_up_sees_what_was_asked_answered_and_shown(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0, 500, 1000)
        first = begun(live)
        live.frames(1500, 60_000)
        second = live.answer('second', 'And its colour?', conversation=first.conversation)
        assert second.error is None and second.conversation == first.conversation
        assert offsets(second) == offsets(first) == [0, 500, 1000], 'not what is seen now'
        assert second.camera == 'front' and not second.evidence.is_stale
        assert second.evidence.age_ns == 59_000 * MS
        [prompt] = [each for each in prompts(live) if 'colour' in each]
        assert prompt.startswith(
            '<|im_start|>user\nTime 0.0s:,Time 0.5s:,Time 1.0s:\nWhat is there?<|im_end|>\n'
            f'<|im_start|>assistant\n{first.text}<|im_end|>\n'
            '<|im_start|>user\nAnd its colour?<|im_end|>\n'
            '<|im_start|>assistant\n<think>\n\n</think>\n\n'
        )


def test_a_follow_up_costs_its_own_tokens_whatever_happened_meanwhile(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint, model__kv_slots=4, clip__window='growing') as live:
        live.frames(0, 500, 1000)
        first = begun(live)
        for number in range(2, 6):
            before = live.steps.count('encode')
            live.frames(*range(1000 * number, 1000 * number + 900, 500))
            live.wait(live.caption())
            live.answer(f'other {number}', 'What else?')
            encodes = live.steps.count('encode')
            answer = live.answer(f'turn {number}', 'Why?', conversation=first.conversation)
            assert live.steps.count('encode') == encodes > before
            stats = answer.evidence.stats
            own = stats.prompt_tokens - stats.reused_tokens
            said = len(live.pipeline._loaded().source.tokenizer.encode_text(first.text))
            assert own < said + 40, 'its own tokens, and the answer before it'
            assert stats.reused_tokens > stats.visual_tokens > 0


def test_the_answer_is_that_of_a_pipeline_that_recomputes_everything(
    tiny_checkpoint: Path,
) -> None:
    texts = []
    for is_caching in (True, False):
        with LivePipeline(tiny_checkpoint, text=None, model__prefix_caching=is_caching) as live:
            live.frames(0, 500)
            limits = {'max_tokens': 12}
            first = begun(live, **limits)
            others = [
                live.answer(f'turn {n}', f'And {n}?', conversation=first.conversation, **limits)
                for n in range(3)
            ]
            texts.append([answer.text for answer in (first, *others)])
    assert texts[0] == texts[1] and len(set(texts[0])) == 4


def test_a_turn_may_look_again_or_bring_images(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0, 500)
        name = begun(live).conversation
        live.frames(20_000, 20_500)
        again = live.answer('again', 'And now?', conversation=name, camera='front')
        assert offsets(again) == [0, 500, 20_000, 20_500]
        images = live.answer('images', 'Like this?', conversation=name, images=(PNG,))
        assert len(images.evidence.frames) == 5 and images.camera == ''
        after = live.answer('after', 'Sure?', conversation=name)
        assert len(after.evidence.frames) == 5 and after.evidence.stats.reused_tokens > 0


def test_the_oldest_turns_are_left_out_and_what_they_showed_stays(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint, question__conversation_tokens=300) as live:
        live.frames(0, 500)
        first = begun(live)
        sizes, cut = [], []
        for number in range(12):
            answer = live.answer(
                f'turn {number}', f'Question {number}?', conversation=first.conversation
            )
            assert answer.error is None and offsets(answer) == [0, 500]
            sizes.append(answer.evidence.stats.prompt_tokens)
            cut.append(answer.evidence.is_truncated)
        assert max(sizes) <= 300 < 12 * 40 and not cut[0] and cut[-1]
        [prompt] = [each for each in prompts(live) if 'Question 11' in each]
        assert 'What is there?' not in prompt and prompt.startswith('<|im_start|>user\nTime 0.0s:')


def test_choices_and_json_have_their_place_in_a_conversation(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0, 500)
        first = begun(live, choices=('a red box', 'a bear'))
        assert first.chosen is not None and first.text == first.chosen.choice
        second = live.answer('second', 'And?', conversation=first.conversation)
        [prompt] = [each for each in prompts(live) if 'And?' in each]
        assert f'assistant\n{first.text}<|im_end|>' in prompt and second.error is None


def test_ids_that_were_not_made_here_are_unknown(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        made = begun(live).conversation
        assert made != begun(live).conversation
        for name in ('new ', 'New', made[:-1], made.swapcase(), 'x' * 100_000, '\0'):
            with pytest.raises(UnknownConversation):
                live.ask(conversation=name)


def test_a_conversation_is_forgotten_when_that_is_asked_for(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        name = begun(live).conversation
        done = live.answer('forget', '', conversation=name, forgets_conversation=True)
        assert done.error is None and (done.text, done.conversation) == ('', '')
        with pytest.raises(UnknownConversation):
            live.ask('late', conversation=name)
        with pytest.raises(UnknownConversation):
            live.ask('twice', '', conversation=name, forgets_conversation=True)
        last = live.answer(
            'last', 'One more?', conversation=begun(live).conversation, forgets_conversation=True
        )
        assert last.error is None and last.conversation == ''
        assert not len(live.pipeline._intake.conversations)
        with pytest.raises(InvalidRequest):
            live.ask('which', '', forgets_conversation=True)


def test_conversations_are_bounded_in_number_and_age(tiny_checkpoint: Path) -> None:
    with LivePipeline(
        tiny_checkpoint, question__conversations=2, question__conversation_age=60.0
    ) as live:
        live.frames(0)
        names = [begun(live).conversation for _ in range(2)]
        live.answer('used', 'And?', conversation=names[0])
        names.append(begun(live).conversation)
        with pytest.raises(UnknownConversation):
            live.ask('oldest', conversation=names[1])
        live.steady.turn(59_000 * MS)
        live.answer('young', 'And?', conversation=names[0])
        live.steady.turn(59_000 * MS)
        assert live.answer('still', 'And?', conversation=names[0]).error is None
        with pytest.raises(UnknownConversation):
            live.ask('aged', conversation=names[2])


def test_a_jump_of_time_and_deactivation_forget_all(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        name = begun(live).conversation
        live.gate.close('decode')
        live.ask('running', 'And?', conversation=name)
        live.gate.wait_arrived()
        live.pipeline.flush('a bag restarted')
        live.gate.open()
        assert isinstance(live.wait('running').error, ClockJumped)
        with pytest.raises(UnknownConversation):
            live.ask('late', conversation=name)
        live.frames(500)
        name = begun(live).conversation
        live.pipeline.deactivate()
        live.pipeline.activate()
        with pytest.raises(UnknownConversation):
            live.ask('later', conversation=name)


def test_a_turn_that_fails_leaves_the_conversation_as_it_was(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        name = begun(live).conversation
        live.gate.close('decode')
        live.ask('cancelled', 'Never?', conversation=name)
        live.gate.wait_arrived()
        live.pipeline.cancel('cancelled')
        live.gate.open()
        failed = live.wait('cancelled')
        assert isinstance(failed.error, RequestCancelled) and failed.conversation == name
        live.answer('next', 'And then?', conversation=name)
        [prompt] = [each for each in prompts(live) if 'And then?' in each]
        assert 'Never?' not in prompt
        live.gate.close('decode')
        live.ask('stillborn', conversation='new')
        live.gate.wait_arrived()
        live.pipeline.cancel('stillborn')
        live.gate.open()
        assert live.wait('stillborn').conversation == ''


def test_what_is_kept_does_not_hold_the_images(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0, 500, size=(280, 420))
        name = begun(live).conversation
        [said] = live.pipeline._intake.conversations._kept[name].said.turns
        assert said.turn.frames
        assert all(not callable(frame.source) for frame in said.turn.frames)
        assert START and all(frame.levels is not None for frame in said.turn.frames)
