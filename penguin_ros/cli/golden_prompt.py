# SPDX-License-Identifier: Apache-2.0
"""Turns a rendered chat prompt back into the messages it came from, so that our own rendering and tokenising can be compared.

A golden case gives the text only. It is cut at the markup: turns at `<|im_start|>ROLE\\n` and `<|im_end|>\\n`, the generation
prompt at the end is left to the renderer. Inside a turn, `<image>\\n` is a picture; a row of `<image>,` that ends in
`<image>\\n`, or one whose placeholders follow `Time T.Ts:`, is a video, and so is a lone placeholder in a case that gives
frames but no picture. What stands between is text. Whatever is mistaken here shows as a prompt that differs.
"""
from __future__ import annotations

import re
from collections.abc import Iterator

from penguin_ros.cli.golden_case import GoldenCase, GoldenValuesError
from penguin_ros.preprocessing.prompt import ImagePart, Message, Part, TextPart, VideoPart

_GENERATION_PROMPT = '<|im_start|>assistant\n<think>\n\n</think>\n\n'
_TURN = re.compile(r'<\|im_start\|>([^\n]*)\n(.*?)<\|im_end\|>\n', re.DOTALL)
_LABEL = r'(?:Time -?[0-9.]+s:)?'
_VISUAL = re.compile(rf'(?:{_LABEL}<image>,)*{_LABEL}<image>\n')
_TIME = re.compile(r'Time (-?[0-9.]+)s:<image>')


def messages_of(case: GoldenCase) -> list[Message]:
    """The messages of the case's prompt; GoldenValuesError when it is no chat markup."""
    prompt = case.text('prompt') or ''
    body = prompt.removesuffix(_GENERATION_PROMPT)
    turns = list(_TURN.finditer(body))
    if not turns or ''.join(turn.group() for turn in turns) != body:
        raise GoldenValuesError(f'the prompt of case {case.name} is no chat markup', f'it begins with {prompt[:60]!r}')
    return [Message(turn.group(1), tuple(_parts(turn.group(2), case))) for turn in turns]


def _parts(content: str, case: GoldenCase) -> Iterator[Part]:
    end = 0
    for found in _VISUAL.finditer(content):
        if found.start() > end:
            yield TextPart(content[end:found.start()])
        yield _visual(found.group(), case)
        end = found.end()
    if end < len(content):
        yield TextPart(content[end:])


def _visual(text: str, case: GoldenCase) -> Part:
    count, labels = text.count('<image>'), _TIME.findall(text)
    if count == 1 and not labels and not (case.frames and not case.images):
        return ImagePart()
    if len(labels) != count:
        return VideoPart(None, frames=count)
    given = case.get('timestamps')
    seconds = given if given is not None and len(given) == count else labels
    return VideoPart(tuple(float(value) for value in seconds), frames=count)
