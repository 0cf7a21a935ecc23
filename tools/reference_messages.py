# SPDX-License-Identifier: Apache-2.0
"""Makes tables of the messages, services and actions of penguin_msgs from their comments.

A file begins with a comment on the whole. Every field and every constant has its own comment above
it. The first constant of a group also carries the line "Values of `field`", and a constant may
repeat its name before its meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

KINDS = ('msg', 'srv', 'action')
PARTS = {'msg': ('',), 'srv': ('Request', 'Response'), 'action': ('Goal', 'Result', 'Feedback')}
_GROUP = re.compile(r'Values of `\w+`[^.]*\.')


@dataclass(frozen=True)
class Entry:
    """One field, or one constant, which has a `value`; `group` heads the constants of one field."""

    type: str
    name: str
    comment: str
    value: str | None = None
    group: str = ''


@dataclass(frozen=True)
class Interface:
    """One file; `parts` are the entries of each section between the lines of three dashes."""

    name: str
    kind: str
    comment: str
    parts: tuple[tuple[Entry, ...], ...]


def interfaces(folder: Path) -> list[Interface]:
    """Returns all files below the folder of penguin_msgs, sorted by name."""
    files = [path for kind in KINDS for path in (folder / kind).glob(f'*.{kind}')]
    return [
        parsed(path.stem, path.suffix[1:], path.read_text(encoding='utf-8'))
        for path in sorted(files, key=lambda path: path.stem)
    ]


def parsed(name: str, kind: str, text: str) -> Interface:
    """Parses one file; ValueError when it has no comment on the whole, or an entry has no
    comment.
    """
    head, _, body = text.partition('\n\n')
    if not all(line.startswith('#') for line in head.splitlines()):
        raise ValueError(f'{name}.{kind} does not begin with a comment and an empty line')
    sections = re.split(r'^---$', body, flags=re.MULTILINE)
    parts = tuple(tuple(_entries(section, f'{name}.{kind}')) for section in sections)
    return Interface(name, kind, _joined(head.splitlines()), parts)


def markdown(found: list[Interface]) -> str:
    """Returns a heading and tables for each interface; the fields of Question are not repeated."""
    names = {interface.name for interface in found}
    question = next((one.parts[0] for one in found if one.name == 'Question'), None)
    return '\n\n'.join(_section(interface, names, question) for interface in found)


def cell(text: str) -> str:
    """Returns the text as it must be written in a table: bars and angle brackets would not be
    shown.
    """
    return text.replace('|', '\\|').replace('<', '&lt;')


def _entries(text: str, file: str) -> list[Entry]:
    entries: list[Entry] = []
    comment: list[str] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if line.startswith('#'):
            comment.append(line)
            continue
        if not comment:
            raise ValueError(f'{file}: {line!r} has no comment above it')
        entries.append(_entry(line, _joined(comment)))
        comment = []
    return entries


def _entry(line: str, comment: str) -> Entry:
    kind, _, rest = line.partition(' ')
    name, equals, value = rest.partition('=')
    if not equals:
        return Entry(kind, rest, comment)
    group = _GROUP.match(comment)
    meaning = comment[group.end() if group else 0 :].strip().removeprefix(f'{name}: ')
    meaning = meaning[:1].upper() + meaning[1:]
    return Entry(kind, name, meaning, value, group.group() if group else '')


def _joined(lines: list[str]) -> str:
    return ' '.join(line.lstrip('#').strip() for line in lines)


def _section(interface: Interface, names: set[str], question: tuple[Entry, ...] | None) -> str:
    full_name = f'penguin_msgs/{interface.kind}/{interface.name}'
    blocks = [f'### {interface.name}', f'`{full_name}`. {interface.comment}']
    for title, entries in zip(PARTS[interface.kind], interface.parts, strict=True):
        prefix = [f'**{title}**'] if title else []
        if title and entries == question:
            blocks.append(f'**{title}**: the fields of [Question](#question).')
        else:
            blocks += [*prefix, *_tables(entries, names)]
    return '\n\n'.join(blocks)


def _tables(entries: tuple[Entry, ...], names: set[str]) -> list[str]:
    tables: list[str] = []
    for entry in (entry for entry in entries if entry.value is not None):
        if entry.group or not tables:  # the first constant of a group begins its table
            head = '| constant | value | meaning |\n|---|---|---|'
            tables += [entry.group, head] if entry.group else [head]
        tables[-1] += f'\n| `{entry.name}` | {entry.value} | {cell(entry.comment)} |'
    rows = [
        f'| `{entry.name}` | {_type(entry.type, names)} | {cell(entry.comment)} |'
        for entry in entries
        if entry.value is None
    ]
    head = ['| field | type | meaning |', '|---|---|---|']
    return [*tables, '\n'.join([*head, *rows])] if rows else tables


def _type(kind: str, names: set[str]) -> str:
    base = kind.removesuffix('[]')
    return f'[`{kind}`](#{base.lower()})' if base in names else f'`{kind}`'
