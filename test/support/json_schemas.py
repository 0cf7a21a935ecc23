# SPDX-License-Identifier: Apache-2.0
"""Random JSON schemas, and what conforms to them, written out in the plainest way."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(('a', 'b2', 'colour', 'a key', 'ü', '"', 'x\\y'))
CONSTANTS = st.sampled_from(
    (None, True, 0, -7, 'red', 'dark blue', '', 'a"b', [1, 'two'], {'k': 1})
)
BOUNDED_STRINGS = st.tuples(st.integers(0, 4), st.integers(0, 5)).map(
    lambda bounds: {'type': 'string', 'minLength': bounds[0], 'maxLength': sum(bounds)}
)
INTEGERS = st.tuples(st.integers(-120, 120), st.integers(0, 300)).map(
    lambda bounds: {'type': 'integer', 'minimum': bounds[0], 'maximum': sum(bounds)}
)
LEAVES = st.one_of(
    BOUNDED_STRINGS,
    INTEGERS,
    st.sampled_from(({'type': 'boolean'}, {'type': 'null'})),
    st.lists(CONSTANTS, min_size=1, max_size=4).map(lambda values: {'enum': values}),
    CONSTANTS.map(lambda value: {'const': value}),
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(NAMES, inner, max_size=4)
    return properties.flatmap(
        lambda by_name: st.sets(st.sampled_from(sorted(by_name)) if by_name else st.nothing()).map(
            lambda required: {
                'type': 'object',
                'properties': by_name,
                'required': sorted(required),
                'additionalProperties': False,
            }
        )
    )


def _arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(inner, st.integers(0, 2), st.integers(0, 2)).map(
        lambda facts: {
            'type': 'array',
            'items': facts[0],
            'minItems': facts[1],
            'maxItems': facts[1] + facts[2],
        }
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        _objects(inner),
        _arrays(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {'anyOf': options}),
    ),
    max_leaves=8,
)
"""Schemas to which only texts of a bounded length conform."""

KINDS = {'string': str, 'integer': int, 'boolean': bool, 'null': type(None)}


def conforms(value: Any, schema: dict[str, Any]) -> bool:
    """True when the value conforms to a schema of this file."""
    if 'anyOf' in schema:
        return any(conforms(value, option) for option in schema['anyOf'])
    if 'enum' in schema or 'const' in schema:
        return any(_same(value, each) for each in schema.get('enum', [schema.get('const')]))
    kind = schema['type']
    if kind == 'object':
        return (
            isinstance(value, dict)
            and set(schema['required']) <= set(value) <= set(schema['properties'])
            and all(conforms(each, schema['properties'][name]) for name, each in value.items())
        )
    if kind == 'array':
        return (
            isinstance(value, list)
            and schema['minItems'] <= len(value) <= schema['maxItems']
            and all(conforms(each, schema['items']) for each in value)
        )
    if type(value) is not KINDS[kind]:
        return False
    if kind == 'string':
        return bool(schema['minLength'] <= len(value) <= schema['maxLength'])
    return kind != 'integer' or bool(schema['minimum'] <= value <= schema['maximum'])


def _same(value: Any, other: Any) -> bool:
    """True and 1 are equal for Python alone."""
    return type(value) is type(other) and bool(value == other)
