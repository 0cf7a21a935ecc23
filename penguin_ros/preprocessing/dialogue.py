# SPDX-License-Identifier: Apache-2.0
"""Turns of a dialogue, and the prompt that they make together.

Each turn is prepared once, with the frames that it brings; the prompts of later turns repeat it
position by position, so that what was computed of it is found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from penguin_ros.checkpoint.tokenizer import PenguinTokenizer
from penguin_ros.model_inputs import FramePatches, ModelInputs, Prompt
from penguin_ros.preprocessing.prompt import (
    TURN_START,
    Message,
    TextPart,
    VisualPart,
    render,
)


@dataclass(frozen=True, eq=False)
class Turn:
    """What the user shows and asks. `parts` and `frames` are what the model sees; see ModelInputs
    for the others.
    """

    parts: tuple[VisualPart, ...]
    text: str
    frames: tuple[FramePatches, ...] = ()
    is_truncated: bool = False
    frame_indices: tuple[int, ...] = ()

    @property
    def message(self) -> Message:
        """The turn as a message."""
        return Message('user', (*self.parts, TextPart(self.text)))


@dataclass(frozen=True, eq=False)
class AnsweredTurn:
    """A turn with what the model answered."""

    turn: Turn
    answer: str


def dialogue_inputs(
    earlier: Sequence[AnsweredTurn],
    newest: Turn,
    tokenizer: PenguinTokenizer,
    image_token_id: int,
    is_lasting: bool = True,
) -> ModelInputs:
    """Returns the inputs of the newest turn behind earlier ones. `is_lasting`: the dialogue will go
    on; its `lasting_tokens` reach up to the assistant's turn, which a later prompt repeats.
    """
    messages = [
        message
        for said in earlier
        for message in (said.turn.message, Message('assistant', (TextPart(said.answer),)))
    ]
    frames = tuple(frame for said in earlier for frame in said.turn.frames) + newest.frames
    prompt = render(
        [*messages, newest.message], tokenizer, [frame.tokens for frame in frames], image_token_id
    )
    return ModelInputs(
        prompt,
        frames,
        image_token_id,
        newest.is_truncated,
        newest.frame_indices,
        lasting_tokens=lasting_tokens(prompt, tokenizer) if is_lasting else 0,
    )


def lasting_tokens(prompt: Prompt, tokenizer: PenguinTokenizer) -> int:
    """Returns how many first positions the prompt of a later turn will repeat: up to the
    assistant's turn.
    """
    starts = (prompt.token_ids == tokenizer.markup_id(TURN_START)).nonzero()[0]
    return int(starts[-1]) + 1


def without_oldest(
    earlier: Sequence[AnsweredTurn], newest: Turn
) -> tuple[list[AnsweredTurn], Turn]:
    """Returns the dialogue without its oldest turn, whose frames go to the next one where that
    brought none: what is talked about stays visible.
    """
    oldest, *rest = earlier
    following = rest[0].turn if rest else newest
    if not following.parts:
        following = replace(
            following,
            parts=oldest.turn.parts,
            frames=oldest.turn.frames,
        )
    if rest:
        return [replace(rest[0], turn=following), *rest[1:]], newest
    return [], following
