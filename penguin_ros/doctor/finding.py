# SPDX-License-Identifier: Apache-2.0
"""What one check of `penguin doctor` found, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """OK; NOTE: optional and absent, or worth knowing; FAULT: something that is needed does not
    work.
    """

    OK = 'ok'
    NOTE = 'note'
    FAULT = 'fault'


@dataclass(frozen=True)
class Finding:
    """One line of the report; `fix` is the command to type, or what to change."""

    topic: str
    state: State
    text: str
    fix: str = ''
