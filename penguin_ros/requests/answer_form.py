# SPDX-License-Identifier: Apache-2.0
"""Checks the form that a request wants its answer in: choices, or a JSON schema."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from penguin_ros.errors import InvalidChoices, InvalidRequest, InvalidSchema
from penguin_ros.question_config import QuestionConfig
from penguin_ros.request import Request
from penguin_ros.scoring.outcomes import is_yes_no
from penguin_ros.text import cleaned

MAX_CHOICES = 64
MAX_CHOICE_CHARACTERS = 256


def check_answer_form(request: Request, limits: QuestionConfig) -> None:
    """Raises InvalidChoices, InvalidSchema, or InvalidRequest when both are given."""
    if request.choices and request.json_schema:
        raise InvalidRequest(
            'both choices and a JSON schema are given',
            'an answer has one form',
            'Leave one of them out; a schema may hold an enum',
        )
    if request.choices:
        _check_choices(request.choices)
    if len(request.json_schema) > limits.max_schema_characters:
        raise InvalidSchema(
            f'the JSON schema has {len(request.json_schema)} characters',
            f'{limits.max_schema_characters} are taken (question.max_schema_characters)',
        )


def _check_choices(choices: Sequence[str]) -> None:
    if len(choices) > MAX_CHOICES:
        raise InvalidChoices(f'{len(choices)} choices', f'a question may have {MAX_CHOICES}')
    for choice in choices:
        _check_choice(choice)
    compared = [unicodedata.normalize('NFC', choice).strip() for choice in choices]
    if is_yes_no(sorted({choice.casefold() for choice in compared})):
        compared = [choice.casefold() for choice in compared]
    double = next((each for each in compared if compared.count(each) > 1), None)
    if double is not None:
        raise InvalidChoices(f'the choice {double!r} is given twice', '', 'Give it once')


def _check_choice(choice: str) -> None:
    if len(choice) > MAX_CHOICE_CHARACTERS:
        raise InvalidChoices(
            f'a choice has {len(choice)} characters', f'{MAX_CHOICE_CHARACTERS} are taken'
        )
    if not choice.strip():
        raise InvalidChoices('a choice is empty', '', 'Give each choice a text')
    if cleaned(choice) != choice:
        raise InvalidChoices(
            f'the choice {cleaned(choice)!r} holds characters that are not printable',
            'it would not come back as it was given',
        )
