# SPDX-License-Identifier: Apache-2.0
"""What was measured of the small model that describes the simulated world, which lies where
`shipped` says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

MEASURED = 'score.json'
"""The file beside the weights that holds what `penguin score --json` printed."""
WANTED = 0.90
"""The shares of facts and answers that should be right in the simulated world."""
ALLOWANCE = 0.05
"""How far a run of a few scenes may fall behind what was measured over hundreds."""


@dataclass(frozen=True)
class Measured:
    """Which shares are right on held-out scenes of a level: of the facts that captions claim, of
    the facts that they should tell, and of the answers.
    """

    level: int = 3
    caption_precision: float = 1.0
    caption_recall: float = 1.0
    answers: float = 1.0

    def least(self, name: str) -> float:
        """What a run of a few scenes has to reach: what is wanted, or a little less than what was
        measured where that is lower.
        """
        return min(WANTED, float(getattr(self, name)) - ALLOWANCE)


def measured(checkpoint: Path | None) -> Measured:
    """Reads what was measured from beside the weights. Where nothing is there, everything is
    expected to be right.
    """
    path = checkpoint / MEASURED if checkpoint is not None else None
    if path is None or not path.is_file():
        return Measured()
    score = json.loads(path.read_text(encoding='utf-8'))
    caption = score['caption']
    return Measured(
        score['level'],
        caption['precision']['value'],
        caption['recall']['value'],
        score['all']['value'],
    )
