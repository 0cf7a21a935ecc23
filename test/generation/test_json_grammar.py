# SPDX-License-Identifier: Apache-2.0
"""Whatever tokens a model chooses, a text that a grammar lets end conforms to its schema; schemas
that cannot be followed are refused.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.json_schemas import SCHEMAS, conforms

from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.errors import InvalidSchema
from penguin_ros.generation.json_grammar import JsonGrammars, Vocabulary, safe_json

pytest.importorskip('llguidance', reason='llguidance is not installed')


@pytest.fixture(scope='module')
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return open_checkpoint(tiny_checkpoint)


@pytest.fixture(scope='module')
def grammars(checkpoint: Checkpoint) -> JsonGrammars:
    shape, tokenizer = checkpoint.shape, checkpoint.tokenizer
    return JsonGrammars(
        Vocabulary(
            tokenizer.token_bytes,
            tokenizer.encode_text,
            shape.vocabulary_size,
            shape.stop_token_ids,
        )
    )


def random_text(
    grammars: JsonGrammars, checkpoint: Checkpoint, schema: str, seed: int, most: int = 400
) -> tuple[list[int], bool]:
    """Tokens drawn evenly among those that are allowed, and whether the text came to its end."""
    random, stops = np.random.default_rng(seed), checkpoint.shape.stop_token_ids
    constraint, ids = grammars.compile(schema).begin(), list[int]()
    while len(ids) < most:
        forced = constraint.forced()
        choice = forced[0] if forced else int(random.choice(constraint.allowed()))
        assert constraint.valid_length([choice]) == 1 or choice in stops
        if choice in stops:
            return ids, True
        constraint.accept(choice)
        ids.append(choice)
    return ids, False


@settings(max_examples=60, deadline=None)
@given(SCHEMAS, st.integers(0, 1 << 20))
def test_a_text_of_random_tokens_conforms(
    grammars: JsonGrammars, checkpoint: Checkpoint, schema: dict[str, object], seed: int
) -> None:
    ids, is_over = random_text(grammars, checkpoint, json.dumps(schema), seed)
    assert is_over and conforms(json.loads(checkpoint.tokenizer.decode(ids)), schema)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(SCHEMAS, st.integers(0, 1 << 20))
def test_texts_of_random_tokens_conform_to_thousands_of_schemas(
    grammars: JsonGrammars, checkpoint: Checkpoint, schema: dict[str, object], seed: int
) -> None:
    ids, is_over = random_text(grammars, checkpoint, json.dumps(schema), seed)
    assert is_over and conforms(json.loads(checkpoint.tokenizer.decode(ids)), schema)


def test_keys_and_punctuation_are_forced(grammars: JsonGrammars, checkpoint: Checkpoint) -> None:
    schema = {
        'type': 'object',
        'properties': {'colour': {'enum': ['red', 'blue']}, 'sure': {'type': 'boolean'}},
        'required': ['colour', 'sure'],
        'additionalProperties': False,
    }
    constraint, asked, ids = grammars.compile(json.dumps(schema)).begin(), 0, list[int]()
    while not (ids and ids[-1] in checkpoint.shape.stop_token_ids):
        forced = constraint.forced()
        asked += not forced
        ids.append(forced[0] if forced else int(constraint.allowed()[-1]))
        constraint.accept(ids[-1])
    text = checkpoint.tokenizer.decode(ids)
    assert conforms(json.loads(text), schema)
    assert text.startswith('{"colour": "') and ', "sure": ' in text
    assert asked <= 4 < len(ids) // 2, 'the model is asked where there is a choice'


def test_a_draft_counts_as_far_as_it_conforms(
    grammars: JsonGrammars, checkpoint: Checkpoint
) -> None:
    encode, stop = checkpoint.tokenizer.encode_text, checkpoint.shape.stop_token_ids[0]
    constraint = grammars.compile('{"type": "integer", "maximum": 99, "minimum": 0}').begin()
    assert constraint.valid_length([*encode('12'), stop]) == len(encode('12')) + 1
    assert constraint.valid_length([*encode('7'), *encode('x')]) == len(encode('7'))
    assert constraint.valid_length(encode('x')) == 0
    assert constraint.valid_length([*encode('1'), stop]) == len(encode('1')) + 1, 'nothing stays'


DEEP = '{"items":' * 5000 + '{}' + '}' * 5000


@pytest.mark.parametrize(
    ('schema', 'why'),
    [
        ('', 'no JSON object'),
        ('{', 'no JSON object'),
        ('true', 'no JSON object'),
        ('[]', 'no JSON object'),
        ('"text"', 'no JSON object'),
        ('{"const": "\0"}', 'no JSON object'),
        ('\ud800', 'no JSON object'),
        (DEEP, 'recursion'),
        ('{"type": "thing"}', 'thing'),
        ('{"enum": []}', 'empty'),
        ('{"type": "integer", "minimum": 5, "maximum": 3}', 'minimum'),
        ('{"allOf": [{"type": "string"}, {"type": "integer"}]}', 'incompatible'),
        ('{"$ref": "#"}', 'no finite text'),
        ('{"$ref": "https://example.org/schema"}', 'not'),
        ('{"$ref": "#/$defs/missing"}', 'missing'),
        ('{"not": {}}', 'not'),
        ('{"x-guidance": {"lenient": true}, "not": {}}', 'not'),
        ('{"oneOf": [{"type": "integer"}, {"type": "number"}]}', 'oneOf'),
        ('{"type": "string", "pattern": "(?=a)b"}', 'look-around'),
        (
            '{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"],'
            '"additionalProperties":false}',
            'oo many',
        ),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused(
    grammars: JsonGrammars, checkpoint: Checkpoint, schema: str, why: str
) -> None:
    with pytest.raises(InvalidSchema, match=why) as caught:
        random_text(grammars, checkpoint, schema, 0)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 600


def test_white_space_is_ours_whatever_the_schema_says(
    grammars: JsonGrammars, checkpoint: Checkpoint
) -> None:
    schema = (
        '{"x-guidance": {"whitespace_flexible": true}, "type": "array",'
        ' "items": {"type": "null"}, "minItems": 2, "maxItems": 2}'
    )
    ids, _ = random_text(grammars, checkpoint, schema, 0)
    assert checkpoint.tokenizer.decode(ids) == '[null, null]'


@given(st.text())
def test_json_that_is_safe_to_show_says_the_same(text: str) -> None:
    raw = json.dumps(text, ensure_ascii=False)
    safe = safe_json(raw)
    assert json.loads(safe) == text and (safe == raw or '\\u' in safe)
    assert not any(0x7F <= ord(each) < 0xA0 or 0x202A <= ord(each) <= 0x202E for each in safe)
