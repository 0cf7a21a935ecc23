# SPDX-License-Identifier: Apache-2.0
"""Tells an interval in a few sentences: captions are merged by a language model in groups, then the
parts in groups again, until one text is left.

What that costs is known before the first prompt.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.entry import Entry

CHARACTERS_PER_TOKEN = 4
"""Of English text, about."""
SMALLEST_GROUP = 2


@dataclass(frozen=True)
class Line:
    """One text of an interval, and the entries that it stands for (none for a part)."""

    start_ns: int
    end_ns: int
    text: str
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class SummaryLimits:
    """`characters` of lines go into one prompt, a part has at most `part_tokens`."""

    characters: int
    part_tokens: int

    @property
    def part_characters(self) -> int:
        """How long a part may be, about."""
        return self.part_tokens * CHARACTERS_PER_TOKEN

    @property
    def fan_in(self) -> int:
        """How many parts go into one prompt."""
        return max(SMALLEST_GROUP, self.characters // (self.part_characters + 32))


@dataclass(frozen=True)
class Cost:
    """Prompts that a summary takes, and about how many tokens they have together."""

    prompts: int
    prompt_tokens: int


def lines_of(entries: Sequence[Entry]) -> list[Line]:
    """Returns the entries as lines, oldest first; neighbours of one camera that say the same become
    one line.
    """
    lines: list[Line] = []
    for entry in sorted(entries, key=lambda each: (each.session, each.end_ns, each.id)):
        last = lines[-1] if lines else None
        if (
            last is not None
            and last.text == entry.text
            and last.entries[-1].camera == entry.camera
            and last.entries[-1].session == entry.session
        ):
            joined = (*last.entries, entry)
            lines[-1] = Line(last.start_ns, max(last.end_ns, entry.end_ns), last.text, joined)
        else:
            lines.append(Line(entry.start_ns, entry.end_ns, entry.text, (entry,)))
    return lines


def groups_of(lines: Sequence[Line], limits: SummaryLimits) -> list[list[Line]]:
    """Returns the lines in groups that fit into a prompt each; a longer line is cut."""
    groups: list[list[Line]] = []
    room = 0
    for line in lines:
        size = min(len(_told(line, 0)), limits.characters)
        if not groups or size > room:
            groups.append([])
            room = limits.characters
        groups[-1].append(line)
        room -= size + 1
    return groups


def cost_of(lines: Sequence[Line], focus: str, limits: SummaryLimits) -> Cost:
    """Returns what a summary of these lines takes: exactly so many prompts, about so many
    tokens.
    """
    prompts = tokens = 0
    frame = len(prompt_of([], focus, 0)) // CHARACTERS_PER_TOKEN
    sizes = [sum(len(_told(line, 0)) + 1 for line in group) for group in groups_of(lines, limits)]
    while sizes:
        prompts += len(sizes)
        tokens += sum(frame + math.ceil(size / CHARACTERS_PER_TOKEN) for size in sizes)
        if len(sizes) == 1:
            break
        groups = [sizes[i : i + limits.fan_in] for i in range(0, len(sizes), limits.fan_in)]
        sizes = [len(group) * (limits.part_characters + 32) for group in groups]
    return Cost(prompts, tokens)


def summary(lines: Sequence[Line], focus: str, limits: SummaryLimits) -> Generator[str, str, str]:
    """Yields prompts, is sent the texts that a model makes of them, and returns the summary."""
    if not lines:
        return ''
    origin_ns = lines[0].start_ns
    groups = groups_of(lines, limits)
    while True:
        parts: list[Line] = []
        for group in groups:
            text = yield prompt_of(group, focus, origin_ns, limits.characters)
            parts.append(
                Line(group[0].start_ns, group[-1].end_ns, text[: limits.part_characters].strip())
            )
        if len(parts) == 1:
            return parts[0].text
        groups = [parts[i : i + limits.fan_in] for i in range(0, len(parts), limits.fan_in)]


def prompt_of(lines: Sequence[Line], focus: str, origin_ns: int, characters: int = 1 << 30) -> str:
    """Returns the prompt that has the lines told in a few sentences."""
    about = f' Tell what concerns this: {focus}.' if focus else ''
    head = (
        'These are notes of what a robot saw, with the minutes since the beginning. Tell in one to '
        f'three sentences what happened.{about} Keep to the notes.\n'
    )
    told = '\n'.join(_told(line, origin_ns) for line in lines)
    return f'{head}{told[:characters]}'


def _told(line: Line, origin_ns: int) -> str:
    """Returns a line with its minute, and camera where it has one."""
    minute = max(0, line.start_ns - origin_ns) / NANOSECONDS / 60
    camera = f' {line.entries[0].camera}' if line.entries and line.entries[0].camera else ''
    return f'[{minute:.1f}{camera}] {" ".join(line.text.split())}'
