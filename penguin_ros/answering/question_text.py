# SPDX-License-Identifier: Apache-2.0
"""What may be asked: cleans and checks the text of a question. Knows neither tokens nor markup.

Chat markup stays as it is: the tokenizer makes plain text of it, and of other forms of one character whatever it was made for.
"""
from __future__ import annotations

from penguin_ros.errors import InvalidQuestion, QuestionTooLong
from penguin_ros.generation.text_stream import without_controls


def cleaned(text: str) -> str:
    """`text` without control characters (newline and tab stay) and without marks that override the direction of writing.

    Surrogates that pair up become their character, lone ones U+FFFD.
    """
    return without_controls(text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace'))


def checked_question(text: str, max_characters: int) -> str:
    """The cleaned question; QuestionTooLong before any work on it, InvalidQuestion when nothing is left to answer."""
    if len(text) > max_characters:
        raise QuestionTooLong(f'the question has {len(text)} characters', f'{max_characters} are taken (question.max_characters)',
                              'Ask more briefly')
    question = cleaned(text)
    if not question.strip():
        raise InvalidQuestion('the question is empty', 'there is nothing but white space and control characters in it',
                              'Ask something')
    return question
