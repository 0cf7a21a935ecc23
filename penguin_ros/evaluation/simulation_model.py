# SPDX-License-Identifier: Apache-2.0
"""The small model that describes the simulated world, and the parameters for it: where they lie,
and what was measured.

Knows no network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

NAME = 'penguin_sim'
ROOT = Path(__file__).resolve().parents[2]
MEASURED = 'score.json'
"""Beside the weights: what `penguin score --json` printed."""
WANTED = 0.90
"""Shares of facts and answers that shall be right in the simulated world."""
ALLOWANCE = 0.05
"""What a run of a few scenes may fall behind what was measured over hundreds."""


@dataclass(frozen=True)
class Measured:
    """Shares of what is right on held-out scenes of a level: facts that captions claim, facts that
    they were to tell, answers.
    """

    level: int = 3
    caption_precision: float = 1.0
    caption_recall: float = 1.0
    answers: float = 1.0

    def least(self, name: str) -> float:
        """What a run of some scenes has to reach: what is wanted, or a little below what was
        measured where that is less.
        """
        return min(WANTED, float(getattr(self, name)) - ALLOWANCE)


def simulation_parameters() -> Path:
    """The parameter file for simulated worlds."""
    return next(
        path
        for root in (ROOT, *_shares())
        if (path := root / 'config' / 'simulation.yaml').is_file()
    )


def default_checkpoint() -> Path | None:
    """The model's folder in this checkout, or where the package is installed; None where its
    weights are absent.
    """
    for root in (ROOT, *_shares()):
        folder = root / 'engines' / NAME
        if (folder / 'config.json').is_file() and any(folder.glob('*.safetensors')):
            return folder
    return None


def measured(checkpoint: Path | None) -> Measured:
    """What stands beside the weights; where nothing does, all that is wanted is expected."""
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


def _shares() -> tuple[Path, ...]:
    """As ament installs it."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return (Path(get_package_share_directory('penguin_ros')),)
    except Exception:  # no ament, or not installed by it
        return ()
