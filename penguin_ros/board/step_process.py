# SPDX-License-Identifier: Apache-2.0
"""The program of one step: it reads a StepOrder from a file and keeps another file up to date with
what the step knows, so that what was measured outlives a crash.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from penguin_ros.board.steps import STEPS, StepOrder
from penguin_ros.console import use_any_encoding
from penguin_ros.errors import PenguinError
from penguin_ros.plain_values import PlainFormat, from_plain, to_plain

FORMAT = PlainFormat(has_defaults=True)


@dataclass
class Outcome:
    """What a step has handed over so far, and how it ended: `error` is the reason why it stopped,
    `fix` what to do about that.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    is_finished: bool = False
    error: str = ''
    fix: str = ''

    def write(self, path: Path) -> None:
        """Replaces the file in one step."""
        staging = path.with_suffix('.new')
        staging.write_text(json.dumps(vars(self)), encoding='utf-8')
        staging.replace(path)


def write_order(order: StepOrder, path: Path) -> None:
    """Writes an order for the program to read."""
    plain = {**to_plain(order), 'facts': order.facts}
    path.write_text(json.dumps(plain), encoding='utf-8')


def read_order(path: Path) -> StepOrder:
    """Reads an order."""
    plain = json.loads(path.read_text(encoding='utf-8'))
    facts = plain.pop('facts')
    found: StepOrder = from_plain(StepOrder, {**plain, 'facts': {}}, 'order', FORMAT)
    return replace(found, facts=facts)


def read_outcome(path: Path) -> Outcome | None:
    """Reads what a step left; None when it left nothing."""
    try:
        return Outcome(**json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return None


def run_step(order: StepOrder, path: Path) -> Outcome:
    """Runs a step in this process and writes to `path` as it goes on."""
    outcome = Outcome()

    def note(facts: Mapping[str, Any]) -> None:
        outcome.facts.update(facts)
        outcome.write(path)

    outcome.write(path)
    step = next(step for step in STEPS if step.name == order.step)
    try:
        importlib.import_module(step.module).run(order, note)
    except PenguinError as error:
        outcome.error = f'{error.what}: {error.why}' if error.why else error.what
        outcome.fix = error.fix
    except Exception as error:
        outcome.error = f'{type(error).__name__}: {error}'.partition('\n')[0]
    outcome.is_finished = True
    outcome.write(path)
    return outcome


def main() -> None:
    """Takes the files of the order and of the outcome."""
    use_any_encoding()
    run_step(read_order(Path(sys.argv[1])), Path(sys.argv[2]))


if __name__ == '__main__':
    main()
