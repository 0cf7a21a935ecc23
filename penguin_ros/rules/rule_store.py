# SPDX-License-Identifier: Apache-2.0
"""Keeps rules in a YAML file, and beside it what has to outlive a restart. Both files appear whole
or not at all; the file of rules is read again before each change, so that what somebody edited
meanwhile stays.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from penguin_ros.atomic_file import write_bytes
from penguin_ros.errors import (
    InvalidRule,
    PenguinError,
    TooManyRules,
    UnusableRuleFile,
    system_refusal,
)
from penguin_ros.plain_values import PlainValueError, from_plain, to_plain
from penguin_ros.rules.event import Event, SavedMonitor
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.rule_set import RuleSet
from penguin_ros.rules.rule_text import cut, with_rule, without_rule

MAX_FILE_BYTES = 8 * 2**20
STATE_SUFFIX = '.state.json'


class RuleStore:
    """A file of rules and the file of what they were doing; used on any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state_path = path.with_name(path.name + STATE_SUFFIX)
        self._lock = threading.Lock()

    def load_into(self, rules: RuleSet, now_ns: int) -> tuple[list[str], list[Event]]:
        """Sets every rule of the file, and goes on where the last process stopped.

        Returns a sentence for each entry that was left out and events to publish; no file is no
        rule. Raises UnusableRuleFile, or SystemRefusal, when the file as a whole cannot be read.
        """
        problems, events = self.set_rules(rules, now_ns)
        try:
            events += rules.resume(self.load_state(), now_ns)
        except UnusableRuleFile as error:
            problems.append(str(error))
        return problems, events

    def set_rules(self, rules: RuleSet, now_ns: int) -> tuple[list[str], list[Event]]:
        """Sets every rule of the file, whatever an earlier process was doing; as load_into."""
        problems: list[str] = []
        events: list[Event] = []
        seen: set[str] = set()
        entries = cut(self._read()).entries
        for place, entry in enumerate(entries):
            try:
                rule = entry.rule()
                if rule.id in seen:
                    raise InvalidRule(f'rule {rule.id} is there twice', 'the first one counts')
                events += rules.set_rule(rule, str(self.path), now_ns, needs_cameras=False)[2]
                seen.add(rule.id)
            except TooManyRules as error:
                where = f'{self.path}, from line {entry.number} on'
                problems.append(f'{where}: {len(entries) - place} rules are left out: {error}')
                break
            except PenguinError as error:
                problems.append(f'{self.path}, line {entry.number}: {error}')
        return problems, events

    def keep_rule(self, rule: Rule) -> None:
        """Writes a rule into the file, in the place of the one of its id; zeros are left out, so
        that the settings count. Raises UnusableRuleFile or SystemRefusal; the file is then as
        before.
        """
        self._change(lambda text: with_rule(text, rule))

    def drop_rule(self, rule_id: str) -> None:
        """Takes a rule out of the file; raises the same. One that is not there stays so."""
        self._change(lambda text: without_rule(text, rule_id))

    def save_state(self, saved: Collection[SavedMonitor]) -> None:
        """Writes what has to outlive a restart; SystemRefusal."""
        with self._lock:
            self._make_folder()
            content = json.dumps([to_plain(one) for one in saved], indent=1) + '\n'
            write_bytes(self.state_path, content.encode())

    def load_state(self) -> tuple[SavedMonitor, ...]:
        """Returns what the last process saved; UnusableRuleFile when it cannot be read."""
        try:
            found = json.loads(self.state_path.read_bytes())
            return tuple(from_plain(tuple[SavedMonitor, ...], found, 'the state'))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, RecursionError, PlainValueError) as error:
            raise UnusableRuleFile(
                f'{self.state_path} cannot be read',
                f'{error}; events that were under way are forgotten',
                'It is written again with the next event',
            ) from error

    def _change(self, change: Callable[[str], str]) -> None:
        with self._lock:
            before = self._read()
            after = change(before)
            if after != before:
                self._make_folder()
                write_bytes(self.path, after.encode('utf-8', 'surrogateescape'))

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise system_refusal(error, f'{self.path} cannot be written') from error

    def _read(self) -> str:
        try:
            if self.path.stat().st_size > MAX_FILE_BYTES:
                why = f'it has more than {MAX_FILE_BYTES} bytes'
                raise UnusableRuleFile(f'{self.path} cannot be read', why, 'Split it')
            # What is no UTF-8 costs its own rule and is written back as it was.
            return self.path.read_bytes().decode('utf-8', 'surrogateescape')
        except FileNotFoundError:
            return ''
        except OSError as error:
            raise system_refusal(error, f'{self.path} cannot be read') from error
