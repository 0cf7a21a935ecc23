# SPDX-License-Identifier: Apache-2.0
"""A question must have a visible character and not too many."""

from __future__ import annotations

import pytest

from penguin_ros.errors import InvalidQuestion, QuestionTooLong
from penguin_ros.requests.validation import checked_question


@pytest.mark.parametrize(
    'text', ['', ' ', '\n\t ', '\0\0', '\x1b\x07', '\u2066\u2069', '\u00a0\u3000']
)
def test_a_question_without_a_visible_character_is_invalid(text: str) -> None:
    with pytest.raises(InvalidQuestion):
        checked_question(text, 100)


def test_the_length_is_checked_before_cleaning() -> None:
    assert checked_question('x' * 100, 100) == 'x' * 100
    with pytest.raises(QuestionTooLong, match='1000000 characters'):
        checked_question('\0' * 1_000_000, 100)
