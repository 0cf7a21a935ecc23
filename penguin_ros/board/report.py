# SPDX-License-Identifier: Apache-2.0
"""The report: one JSON file, which is also what `penguin build --profile` reads, and a text of at
most MAX_LINES lines, which the file carries too.

Neither names the host, the user or a folder of the machine, and neither has pictures: such words
are taken out of everything that is written.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penguin_ros.board.choice import choose
from penguin_ros.board.engine_verdicts import engine_verdicts
from penguin_ros.board.model_verdicts import model_verdicts
from penguin_ros.board.profile import BoardProfile
from penguin_ros.board.result import DONE, FAULT, NOTE, OK, SKIPPED, Results, Verdict
from penguin_ros.board.verdicts import board_verdicts
from penguin_ros.plain_values import to_plain

FORMAT = 1
MAX_LINES = 30
MAX_COLUMNS = 160
PATH = re.compile(r'(?<![\w.])/(?:[^\s/\'":;,()]+/)*([^\s/\'":;,()]+)')
MARKS = {OK: ' ok  ', NOTE: 'note ', FAULT: 'FAULT'}


def all_verdicts(results: Results) -> list[Verdict]:
    """Returns faults first, then notes, then what is fine."""
    found = [*board_verdicts(results), *engine_verdicts(results), *model_verdicts(results)]
    order = (FAULT, NOTE, OK)
    return sorted(found, key=lambda verdict: order.index(verdict.state))


def record(results: Results, *bundles: str) -> dict[str, Any]:
    """Returns everything that the file holds, as plain values without names of places."""
    verdicts, profile = all_verdicts(results), choose(results)
    plain = {
        'format': FORMAT,
        'steps': [to_plain(result) for result in results.values()],
        'verdicts': [to_plain(verdict) for verdict in verdicts],
        'profile': to_plain(profile),
        'text': lines(results, verdicts, profile),
    }
    found: dict[str, Any] = without_places(plain, private_words(*bundles))
    return found


def lines(results: Results, verdicts: list[Verdict], profile: BoardProfile) -> list[str]:
    """Returns the text: the steps, the verdicts, the choice; what does not fit is counted."""
    head = [_steps_line(results)]
    tail = list(_profile_lines(profile))
    room = MAX_LINES - len(head) - len(tail) - 1
    shown = [_verdict_line(verdict) for verdict in verdicts[:room]]
    left = len(verdicts) - len(shown)
    more = [f'and {left} more in the file'] if left else []
    return [line[:MAX_COLUMNS] for line in (*head, *shown, *more, *tail)]


def private_words(*bundles: str) -> dict[str, str]:
    """Returns words that must not leave this machine, and what stands for them."""
    words = {socket.gethostname(): 'HOST', getpass.getuser(): 'USER'}
    for bundle in filter(None, bundles):
        for path in (bundle, str(Path(bundle).absolute())):
            words[path.rstrip('/')] = 'BUNDLE'
    return words


def without_places(value: Any, words: dict[str, str]) -> Any:
    """Returns plain values whose texts have none of the words, and of paths their last part."""
    if isinstance(value, dict):
        return {name: without_places(item, words) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(item, words) for item in value]
    if not isinstance(value, str):
        return value
    for word in sorted(words, key=len, reverse=True):
        value = re.sub(rf'(?<!\w){re.escape(word)}(?!\w)', words[word], value)
    return PATH.sub(lambda found: found[1], value)


def _steps_line(results: Results) -> str:
    done = sum(result.state == DONE for result in results.values())
    skipped = [name for name, result in results.items() if result.state == SKIPPED]
    words = f'{done} of {len(results)} steps done'
    return f'{words}; skipped: {", ".join(skipped)}' if skipped else words


def _verdict_line(verdict: Verdict) -> str:
    fix = f' → {verdict.fix}' if verdict.fix else ''
    return f'{MARKS[verdict.state]} {verdict.topic}: {verdict.text}{fix}'


def _profile_lines(profile: BoardProfile) -> Iterator[str]:
    chosen = {
        'precision': profile.precision,
        'head': profile.head,
        'compute': profile.compute,
        'variant': profile.variant,
        'max-patches': profile.max_patches,
    }
    options = ' '.join(f'--{name} {value}' for name, value in chosen.items() if value)
    if options:
        yield f'choice: {options}'
    yield from (f'  {reason}' for reason in profile.reasons)
