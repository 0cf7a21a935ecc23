# SPDX-License-Identifier: Apache-2.0
"""The glossary of docs/architecture.md is kept: old names do not come back, docstrings are
sentences.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = ROOT / 'docs' / 'architecture.md'
FOLDERS = ('penguin_ros', 'test', 'tools', 'benchmarks', 'examples', 'launch')
FORMULAS = re.compile(r'\b(Knows (no|not|neither|nothing|only|what|which|how)\b|[Bb]egins? anew\b)')


@cache
def old_names() -> dict[tuple[str, ...], str]:
    """Words of a name that the code once had, and the term that took its place.

    `growth` forbids every identifier with that word in it; `limits class` forbids `Limits` alone,
    since the word has another use as a variable.
    """
    names: dict[tuple[str, ...], str] = {}
    for row in re.findall(r'^\| (.+?) \| .+? \| (.*?) ?\|$', GLOSSARY.read_text(), re.MULTILINE):
        for name in filter(None, (name.strip() for name in row[1].split(','))):
            if name not in ('not', '---'):
                names[tuple(name.split())] = row[0]
    return names


def words_of(identifier: str) -> tuple[str, ...]:
    """`KVSlot`, `kv_slot`, `_KV_SLOT` as lower-case words."""
    parts = re.findall(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+', identifier)
    return tuple(part.lower() for part in parts)


def is_forbidden(identifier: str, name: tuple[str, ...]) -> bool:
    if name[-1] == 'class':
        return identifier == ''.join(word.capitalize() for word in name[:-1])
    words = words_of(identifier)
    return any(words[at : at + len(name)] == name for at in range(len(words) - len(name) + 1))


@cache
def terms_for(identifier: str) -> tuple[str, ...]:
    """The terms that stand in the place of an identifier; most files share most identifiers."""
    return tuple(term for name, term in old_names().items() if is_forbidden(identifier, name))


@cache
def identifiers(path: Path) -> frozenset[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding='utf-8')).readline)
    return frozenset(token.string for token in tokens if token.type == tokenize.NAME)


def sources(folders: tuple[str, ...] = FOLDERS) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob('*.py'))]


def test_the_glossary_is_read() -> None:
    assert len(old_names()) > 20 and ('keyed', 'slot') in old_names()


@pytest.mark.parametrize(
    ('identifier', 'name'),
    [
        ('KeyedSlot', ('keyed', 'slot')),
        ('_keyed_slot', ('keyed', 'slot')),
        ('Limits', ('limits', 'class')),
        ('outbox', ('outbox',)),
        ('_Outbox', ('outbox',)),
    ],
)
def test_an_old_name_would_be_seen(identifier: str, name: tuple[str, ...]) -> None:
    assert is_forbidden(identifier, name)


@pytest.mark.parametrize('identifier', ['limits', 'RestartLimits', 'KVSlot', 'slot_key'])
def test_other_names_are_free(identifier: str) -> None:
    assert not any(
        is_forbidden(identifier, name) for name in (('limits', 'class'), ('keyed', 'slot'))
    )


def test_no_identifier_bears_a_name_that_the_glossary_replaced() -> None:
    wrong = [
        f'{path.relative_to(ROOT)}: {identifier} is now {term}'
        for path in sources()
        for identifier in identifiers(path)
        for term in terms_for(identifier)
    ]
    assert wrong == []


def docstrings(path: Path) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = ast.walk(ast.parse(path.read_text(encoding='utf-8')))
    return [ast.get_docstring(node) or '' for node in nodes if isinstance(node, kinds)]


def test_docstrings_of_the_package_are_sentences_with_a_subject() -> None:
    wrong = [
        f'{path.relative_to(ROOT)}: {text.splitlines()[0]}'
        for path in sources(('penguin_ros',))
        for text in docstrings(path)
        if re.match(r'(Of|For|As) ', text) or FORMULAS.search(text)
    ]
    assert wrong == []


def test_every_room_has_a_sign_on_its_door_and_nothing_behind_it() -> None:
    wrong = []
    for path in (ROOT / 'penguin_ros').rglob('__init__.py'):
        tree = ast.parse(path.read_text(encoding='utf-8'))
        if len(ast.get_docstring(tree) or '') < 80 or len(tree.body) != 1:
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []
