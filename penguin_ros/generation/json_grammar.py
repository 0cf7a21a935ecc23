# SPDX-License-Identifier: Apache-2.0
"""Compiles JSON schemas to grammars over the tokens of one model, with the library llguidance.

The text that comes out conforms to the schema: keys come in the schema's order, `, ` and `: ` stand
between them, and there is no other white space, so that no text can go on for ever with spaces. A
keyword that the library cannot follow is refused, not ignored. The library is imported when it is
first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import InvalidSchema
from penguin_ros.generation.constraint import Constraint

_FORM = {
    'item_separator': ', ',
    'key_separator': ': ',
    'whitespace_flexible': False,
    'coerce_one_of': False,
    'lenient': False,
}
"""Of these options of the library none is left to the schema, which may carry some."""

_LIMITS = {'max_lexer_states': 50_000, 'verbose_errors': False}
"""A state takes some 2 kB."""

MAX_REASON_CHARACTERS = 300
NO_FINITE_TEXT = 'no finite text conforms to it'

_UNSAFE = {*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0x20)}


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a model. `token_bytes` gives the UTF-8 bytes of a token, none for markup;
    `encode_text` the tokens of plain text; `size` is the number of logits.
    """

    token_bytes: Callable[[int], bytes]
    encode_text: Callable[[str], list[int]]
    size: int
    stop_token_ids: tuple[int, ...]


class JsonGrammars:
    """Makes grammars for one vocabulary. Reading 150,000 tokens takes a second or more, in which no
    other thread of Python runs; compiling a schema takes milliseconds.

    LibraryUnusable or ImportError when llguidance cannot be imported.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        from llguidance import LLTokenizer

        self._stop_token_id = vocabulary.stop_token_ids[0]
        self._size = vocabulary.size
        self._tokenizer = LLTokenizer(
            _Tokens(vocabulary), n_vocab=vocabulary.size, eos_token=list(vocabulary.stop_token_ids)
        )

    def compile(self, schema: str) -> JsonGrammar:
        """Compiles a schema; InvalidSchema when it is malformed, not supported, too complex, or
        when nothing conforms to it.
        """
        from llguidance import LLMatcher, LLParserLimits

        try:
            grammar = LLMatcher.grammar_from_json_schema(schema, overrides=_FORM)
        except ValueError as error:
            raise _invalid(f'it is no JSON object: {error}') from None
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=LLParserLimits(**_LIMITS))
        made = JsonGrammar(matcher, self._size, self._stop_token_id)
        start = made.begin()
        if not start.forced():
            start.allowed()
        return made


class JsonGrammar:
    """A compiled schema."""

    def __init__(self, matcher: Any, vocabulary_size: int, stop_token_id: int) -> None:
        self._matcher = matcher
        self._size = vocabulary_size
        self._stop_token_id = stop_token_id

    def begin(self) -> Constraint:
        """See Grammar."""
        return _JsonConstraint(self._matcher.deep_copy(), self._size, self._stop_token_id)


class _JsonConstraint:
    """See Constraint. `_forced` are the forced tokens from here on, None where they are not known
    yet.
    """

    def __init__(self, matcher: Any, vocabulary_size: int, stop_token_id: int) -> None:
        self._matcher = matcher
        self._size = vocabulary_size
        self._stop_token_id = stop_token_id
        self._forced: list[int] | None = None
        self._check()

    def forced(self) -> Sequence[int]:
        """See Constraint."""
        if self._forced is None:
            is_over = self._matcher.is_stopped()
            self._check()
            self._forced = (
                [self._stop_token_id] if is_over else list(self._matcher.compute_ff_tokens())
            )
        return self._forced

    def allowed(self) -> NDArray[np.intp]:
        """See Constraint."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        ids = np.flatnonzero(np.unpackbits(bits, count=self._size, bitorder='little'))
        self._check()
        if not len(ids):
            raise _invalid('no token of the model can go on', 'no text of this model conforms')
        return ids

    def accept(self, token_id: int) -> None:
        """See Constraint."""
        self._forced = self._forced[1:] or None if self._forced else None
        self._matcher.consume_token(token_id)
        self._check()

    def valid_length(self, draft: Sequence[int]) -> int:
        """See Constraint."""
        return int(self._matcher.validate_tokens(list(draft)))

    def _check(self) -> None:
        """Raises InvalidSchema when the library has given up, or when the text can neither go on
        nor end.
        """
        matcher = self._matcher
        if matcher.is_error():
            raise _invalid(_said(matcher.get_error()))
        if matcher.is_stopped() and not matcher.is_accepting():
            raise _invalid(NO_FINITE_TEXT, str(matcher.stop_reason()))


class _Tokens:
    """A vocabulary as llguidance asks for it; tokens without bytes are special, which no JSON
    contains.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.eos_token_id = vocabulary.stop_token_ids[0]
        self.tokens = [vocabulary.token_bytes(number) for number in range(vocabulary.size)]
        self.special_token_ids = [number for number, token in enumerate(self.tokens) if not token]
        self._encode_text = vocabulary.encode_text

    def __call__(self, text: str | bytes) -> list[int]:
        return self._encode_text(text if isinstance(text, str) else text.decode('utf-8', 'replace'))


def safe_json(text: str) -> str:
    """Returns JSON of the same meaning in which characters that are not safe to show (see
    penguin_ros/text.py) are written as escapes; they occur inside strings only.
    """
    return ''.join(
        f'\\u{ord(character):04x}' if ord(character) in _UNSAFE else character for character in text
    )


def _said(message: str) -> str:
    """Returns what the library says, in one line."""
    line = ' '.join(message.split('<state>')[0].split())[:MAX_REASON_CHARACTERS]
    return NO_FINITE_TEXT if not line or line.startswith('NoExtension') else line


def _invalid(why: str, more: str = '') -> InvalidSchema:
    return InvalidSchema(
        'the JSON schema cannot be used',
        f'{why} ({more})' if more else why,
        'docs/typed_answers.md lists what a schema may hold',
    )
