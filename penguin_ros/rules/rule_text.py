# SPDX-License-Identifier: Apache-2.0
"""The text of a file of rules, changed one entry at a time: every other line stays as it is.

The text is cut into entries by lines, before any YAML is read, so that an entry that is broken
costs no other one. An entry begins with its dash; comment lines right above it belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penguin_ros.errors import InvalidRule, UnusableRuleFile
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.rule_entry import KEYS, entry_of, parsed, rule_from, written

HEAD = (
    '# Rules of penguin_node, see docs/rules.md. The node keeps comments when it changes a rule.\n'
)
_TOP = re.compile(r'\ufeff?rules[ \t]*:[ \t]*(\[[ \t]*\])?[ \t]*(#.*)?$')
_DASH = re.compile(r'( *)-(?=[ \t\r\n]|$)')
_ENTRY = re.compile(rf'\s*-[ \t]+({"|".join(KEYS)})[ \t]*:(?=\s|$)')
_ID = re.compile(r'[ \t]*(-[ \t]+)?id[ \t]*:(?=\s|$)')
_KEY = re.compile(r'([A-Za-z_]\w*)[ \t]*:(?=\s|$)')
_COMMENT = re.compile(r'[ \t]*#')


@dataclass(frozen=True)
class Entry:
    """The lines of one rule: comments right above it, then the rule; `number` is that of its first
    line in the file, from 1.
    """

    number: int
    comments: tuple[str, ...]
    lines: tuple[str, ...]

    def rule(self) -> Rule:
        """Returns the rule that the entry holds, unchecked; InvalidRule."""
        return rule_from(self.fields())

    def fields(self) -> Any:
        """Returns what the entry says; InvalidRule when it is no YAML."""
        dash = _DASH.match(self.lines[0])
        if dash is None:
            name = self.lines[0].strip()[:64]
            raise InvalidRule(f'{name!r} belongs to no rule', 'a rule begins with "- id: NAME"')
        at = len(dash[1])
        return parsed(
            ''.join((self.lines[0][:at] + ' ' + self.lines[0][at + 1 :], *self.lines[1:]))
        )


@dataclass(frozen=True)
class RuleText:
    """The text of a file: `head` to the line `rules:`, the entries with the lines between them, and
    the `tail`.
    """

    head: tuple[str, ...]
    parts: tuple[Entry | str, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries in their order."""
        return tuple(part for part in self.parts if isinstance(part, Entry))

    @property
    def text(self) -> str:
        """All of it again, as it was."""
        lines = list(self.head)
        for part in self.parts:
            lines += [part] if isinstance(part, str) else [*part.comments, *part.lines]
        return ''.join(lines)


def cut(text: str) -> RuleText:
    """Returns the text in pieces; UnusableRuleFile where something stands above `rules:`."""
    lines = re.findall(r'[^\n]*\n|[^\n]+', text)
    for at, line in enumerate(lines):
        if _TOP.match(line.rstrip('\r\n')):
            return RuleText(tuple(lines[: at + 1]), _parts(lines[at + 1 :], at + 2))
        if not _is_empty(line.lstrip('\ufeff')) and line.strip() not in ('---',):
            break
    else:
        return RuleText(tuple(lines), ())
    raise UnusableRuleFile(
        f'line {at + 1} stands before the rules: {line.strip()[:64]!r}',
        'rules are read from below a line "rules:", each from a line "- id: NAME" on',
        'Move it below, or make a comment of it',
    )


def with_rule(text: str, rule: Rule) -> str:
    """Returns the text with the rule in it: in the place of the entry of that id, where there is
    one, with its comments. What is the same in both stays as it is written.
    """
    content = cut(text)
    wanted = entry_of(rule)
    for position, part in enumerate(content.parts):
        if isinstance(part, Entry) and _id_of(part) == rule.id:
            for lines in (_changed(part, wanted), _fresh(wanted, _indent(part), _end_of(part))):
                changed = Entry(part.number, part.comments, lines)
                if _says(changed, wanted):
                    parts = [*content.parts[:position], changed, *content.parts[position + 1 :]]
                    return RuleText(content.head, tuple(parts)).text
    return _appended(content, wanted)


def without_rule(text: str, rule_id: str) -> str:
    """Returns the text without the entries of that id and the comments right above them."""
    content = cut(text)
    parts = [part for part in content.parts if isinstance(part, str) or _id_of(part) != rule_id]
    left = RuleText(content.head, tuple(parts))
    if left.entries or not content.entries:
        return left.text
    head = [re.sub(r'^(\ufeff?rules[ \t]*:)(?![ \t]*\[)', r'\1 []', line) for line in left.head]
    return RuleText(tuple(head), left.parts).text


def _parts(lines: Sequence[str], first: int) -> tuple[Entry | str, ...]:
    parts: list[Entry | str] = []
    begin = _first_indent(lines)
    current: list[str] = []
    number = 0

    def close() -> None:
        if not current:
            return
        end = len(current)
        while end > 1 and _is_empty(current[end - 1]):
            end -= 1
        parts.append(Entry(number, _taken_comments(parts), tuple(current[:end])))
        parts.extend(current[end:])

    for at, line in enumerate(lines):
        if _begins(line, begin) or (_ID.match(line) and any(map(_ID.match, current))):
            close()
            current, number = [line], first + at
        elif current:
            current.append(line)
        else:
            parts.append(line) if _is_empty(line) else current.append(line)
            number = first + at
    close()
    return tuple(parts)


def _taken_comments(parts: list[Entry | str]) -> tuple[str, ...]:
    """Takes the comment lines off the end of `parts`."""
    taken: list[str] = []
    while parts and isinstance(parts[-1], str) and _COMMENT.match(parts[-1]):
        taken.insert(0, parts.pop())  # type: ignore[arg-type]
    return tuple(taken)


def _begins(line: str, indent: int | None) -> bool:
    """Whether a line begins an entry, or something at the left edge that is no field of a rule."""
    dash = _DASH.match(line)
    if dash and (len(dash[1]) == indent or _ENTRY.match(line)):
        return True
    key = _KEY.match(line)
    return not line[:1].isspace() and not _is_empty(line) and not (key and key[1] in KEYS)


def _first_indent(lines: Sequence[str]) -> int | None:
    return next((len(dash[1]) for line in lines if (dash := _DASH.match(line))), None)


def _is_empty(line: str) -> bool:
    return not line.strip() or bool(_COMMENT.match(line))


def _id_of(entry: Entry) -> str | None:
    """The id of an entry that can be read; a broken one is left alone whatever it is called."""
    try:
        return entry.rule().id
    except InvalidRule:
        return None


def _says(entry: Entry, wanted: dict[str, Any]) -> bool:
    try:
        return entry_of(entry.rule()) == wanted
    except InvalidRule:
        return False


def _indent(entry: Entry) -> str:
    dash = _DASH.match(entry.lines[0])
    return dash[1] if dash else '  '


def _end_of(entry: Entry) -> str:
    return '\r\n' if entry.lines[0].endswith('\r\n') else '\n'


def _fresh(wanted: dict[str, Any], indent: str, end: str = '\n') -> tuple[str, ...]:
    fields = [written(key, value) for key, value in wanted.items()]
    return tuple(
        f'{indent}{"  " if place else "- "}{field}{end}' for place, field in enumerate(fields)
    )


def _changed(entry: Entry, wanted: dict[str, Any]) -> tuple[str, ...]:
    """The lines of the entry with other values where they differ; new fields come at the end."""
    old = entry_of(entry.rule())
    margin, lines, left = _KeyLines.of(entry), list[str](), dict(wanted)
    for key, group in margin.groups:
        if key == '' or (key in left and old.get(key) == left.get(key)):
            left.pop(key, None)
            lines += group
        elif key in left:
            field = written(key, left.pop(key))
            comment = _trailing_comment(group)
            lines.append(margin.start(lines) + field + comment + _end_of(entry))
            lines += [line for line in group[1:] if _is_empty(line)]
        else:
            lines += [line for line in group[1:] if _is_empty(line)]
    if lines and not lines[-1].endswith('\n'):
        lines[-1] += _end_of(entry)
    lines += [margin.margin + written(key, value) + _end_of(entry) for key, value in left.items()]
    return tuple(lines)


@dataclass(frozen=True)
class _KeyLines:
    """The lines of an entry by its fields; those above the first have the key ''."""

    first: str  # what stands before the first field: '  - '
    margin: str  # what stands before the others
    groups: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, entry: Entry) -> _KeyLines:
        found = re.match(r'( *-[ \t]*)', entry.lines[0])
        first = found[1] if found else ''
        margin = ' ' * len(first)
        groups: list[tuple[str, list[str]]] = []
        for place, line in enumerate(entry.lines):
            bare = line[len(first) :] if not place else line.removeprefix(margin)
            key = _KEY.match(bare) if not place or line.startswith(margin) else None
            if key:
                groups.append((key[1], [line]))
            elif groups:
                groups[-1][1].append(line)
            else:
                groups.append(('', [line]))
        return cls(first, margin, tuple((key, tuple(lines)) for key, lines in groups))

    def start(self, before: Sequence[str]) -> str:
        """Returns what a field begins with that stands below the lines `before`."""
        return self.margin if before else self.first


def _trailing_comment(group: Sequence[str]) -> str:
    """The comment behind the value of a field on one line."""
    line = group[0].rstrip('\r\n')
    if len([one for one in group if not _is_empty(one)]) > 1:
        return ''
    field = re.sub(r'^ *(- *)?', '', line)
    for found in re.finditer(r'[ \t]+#', field):
        try:
            if parsed(field[: found.start()]) == parsed(field):
                return field[found.start() :]
        except InvalidRule:
            continue
    return ''


def _appended(content: RuleText, wanted: dict[str, Any]) -> str:
    """The text with a new entry behind the last one, or at the end where there is none."""
    entries = content.entries
    like = next((entry for entry in reversed(entries) if _id_of(entry) is not None), None)
    fresh = _fresh(wanted, _indent(like) if like else '  ', _end_of(like) if like else '\n')
    if entries:
        place = content.parts.index(entries[-1]) + 1
        before = RuleText(content.head, content.parts[:place]).text
        after = RuleText((), content.parts[place:]).text
        return _ended(before) + ''.join(fresh) + after
    head = list(content.head)
    if not any(_TOP.match(line.rstrip('\r\n')) for line in head):
        head = [_ended(''.join(head)) or HEAD, 'rules:\n']
    head = [re.sub(r'^(\ufeff?rules[ \t]*:)[ \t]*\[[ \t]*\]', r'\1', line) for line in head]
    return _ended(RuleText(tuple(head), content.parts).text) + ''.join(fresh)


def _ended(text: str) -> str:
    return text if text.endswith('\n') or not text else text + '\n'
