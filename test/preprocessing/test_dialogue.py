# SPDX-License-Identifier: Apache-2.0
"""The prompt of a dialogue is the reference's, and later prompts repeat earlier ones position by
position.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.built_inputs import frame
from support.golden_cases import DIALOGUES, arrays_of

from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.config import VisualConfig
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.preprocessing.dialogue import (
    AnsweredTurn,
    Turn,
    dialogue_inputs,
    without_oldest,
)
from penguin_ros.preprocessing.prompt import ImagePart, VideoPart
from penguin_ros.steps import run_to_end

VIDEO = VideoPart((0.0, 0.5, 1.25), 3)
SHOWN = st.sampled_from(((), (ImagePart(),), (VIDEO,), (VideoPart(None, 2),)))
TEXTS = st.text(st.characters(codec='utf-8', exclude_categories=('Cc', 'Cs')), max_size=20)
TURNS = st.lists(st.tuples(SHOWN, TEXTS, TEXTS), min_size=1, max_size=4)
some = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def turn(parts: tuple[Any, ...], text: str) -> Turn:
    count = sum(part.frames if isinstance(part, VideoPart) else 1 for part in parts)
    return Turn(parts, text, tuple(frame(4, 6, seed=number) for number in range(count)))


def prompt_of(checkpoint: Checkpoint, earlier: list[AnsweredTurn], newest: Turn) -> ModelInputs:
    shape = checkpoint.shape
    return dialogue_inputs(earlier, newest, checkpoint.tokenizer, shape.image_token_id)


def dialogue(turns: list[Any]) -> tuple[list[AnsweredTurn], Turn]:
    *earlier, (parts, text, _) = turns
    return [AnsweredTurn(turn(each, asked), said) for each, asked, said in earlier], turn(
        parts, text
    )


def test_two_turns_are_those_of_the_reference(
    golden_dir: Path, golden_checkpoint: Checkpoint
) -> None:
    case = arrays_of(golden_dir, 'dialogue')
    (_, _, asked), (_, _, said), (_, _, more) = DIALOGUES['dialogue']
    budget = VisualConfig(max_visual_tokens=int(case['max_tokens']))
    preprocessor = Preprocessor(golden_checkpoint.shape, golden_checkpoint.tokenizer, budget)
    first = run_to_end(preprocessor.images_turn_steps([case['image']], asked))
    inputs = preprocessor.dialogue_inputs([AnsweredTurn(first, said)], Turn((), more))
    assert inputs.prompt.text == str(case['prompt'])
    assert inputs.prompt.token_ids.tolist() == case['input_ids'][0].tolist()


@some
@given(TURNS, SHOWN, TEXTS, TEXTS)
def test_a_later_prompt_begins_with_the_lasting_tokens_of_an_earlier_one(
    checkpoint: Checkpoint, turns: list[Any], shown: Any, said: str, text: str
) -> None:
    earlier, newest = dialogue(turns)
    before = prompt_of(checkpoint, earlier, newest)
    after = prompt_of(checkpoint, [*earlier, AnsweredTurn(newest, said)], turn(shown, text))
    lasting = before.lasting_tokens
    ids = before.prompt.token_ids
    assert (ids[:lasting] == after.prompt.token_ids[:lasting]).all()
    starts = before.prompt.image_starts
    assert starts == after.prompt.image_starts[: len(starts)]
    assert len(ids) - lasting < 16, 'all but the beginning of the answer'
    assert after.frames[: len(before.frames)] == before.frames


@some
@given(TURNS)
def test_what_was_shown_last_stays_when_turns_are_left_out(
    checkpoint: Checkpoint, turns: list[Any]
) -> None:
    earlier, newest = dialogue(turns)
    shown = [each.turn for each in earlier if each.turn.parts] + ([newest] * bool(newest.parts))
    while earlier:
        count = len(earlier)
        earlier, newest = without_oldest(earlier, newest)
        assert len(earlier) == count - 1
    prompt = prompt_of(checkpoint, earlier, newest)
    last = shown[-1] if shown else None
    assert newest.text == turns[-1][1]
    assert prompt.frames == (last.frames if last else ())
    assert newest.parts == (last.parts if last else ())


def test_only_a_dialogue_that_goes_on_has_lasting_tokens(checkpoint: Checkpoint) -> None:
    shape, tokenizer = checkpoint.shape, checkpoint.tokenizer
    newest = turn((VIDEO,), 'What?')
    plain = dialogue_inputs((), newest, tokenizer, shape.image_token_id, is_lasting=False)
    lasting = dialogue_inputs((), newest, tokenizer, shape.image_token_id)
    assert plain.lasting_tokens == 0 < lasting.lasting_tokens
    assert (plain.prompt.token_ids == lasting.prompt.token_ids).all()


@pytest.mark.slow
def test_texts_and_tokens_are_those_of_the_chat_template_of_transformers(
    golden_checkpoint: Checkpoint,
) -> None:
    """Transformers renders the checkpoint's own template and tokenises the text."""
    transformers = pytest.importorskip('transformers')
    reference = transformers.Qwen2TokenizerFast.from_pretrained(str(golden_checkpoint.path))

    def contents(of: Turn) -> list[dict[str, Any]]:
        shown = [
            {'type': 'image'}
            if isinstance(part, ImagePart)
            else {
                'type': 'video',
                'num_frames': part.frames,
                'timestamps': list(part.timestamps or ()),
            }
            for part in of.parts
        ]
        return [*shown, {'type': 'text', 'text': of.text}]

    @some
    @given(TURNS)
    def compare(turns: list[Any]) -> None:
        earlier, newest = dialogue(turns)
        messages: list[dict[str, Any]] = []
        for said in earlier:
            messages.append({'role': 'user', 'content': contents(said.turn)})
            messages.append({'role': 'assistant', 'content': said.answer})
        messages.append({'role': 'user', 'content': contents(newest)})
        text = reference.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, image_token='<image>'
        )
        got = prompt_of(golden_checkpoint, earlier, newest)
        assert got.prompt.text == text
        image = golden_checkpoint.shape.image_token_id
        ids, tokens = [], iter(each.tokens for each in got.frames)
        for token_id in reference(text, add_special_tokens=False)['input_ids']:
            ids += [image] * next(tokens) if token_id == image else [token_id]
        assert got.prompt.token_ids.tolist() == np.array(ids).tolist()

    compare()
