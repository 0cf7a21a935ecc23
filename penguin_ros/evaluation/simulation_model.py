# SPDX-License-Identifier: Apache-2.0
"""The small model that describes the simulated world: where it and its parameters lie, and what was
measured of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

NAME = 'penguin_sim'
ROOT = Path(__file__).resolve().parents[2]
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


def simulation_parameters() -> Path:
    """The file with the parameters for simulated worlds."""
    return next(
        path
        for root in (ROOT, *_shares())
        if (path := root / 'config' / 'simulation.yaml').is_file()
    )


def default_checkpoint() -> Path | None:
    """The folder of the model in this checkout or in the installed package; None where its weights
    are absent.
    """
    for root in (ROOT, *_shares()):
        folder = root / 'engines' / NAME
        if (folder / 'config.json').is_file() and any(folder.glob('*.safetensors')):
            return folder
    return None


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


def _shares() -> tuple[Path, ...]:
    """The folder that ament installs the package's files in, where there is one."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return (Path(get_package_share_directory('penguin_ros')),)
    except Exception:  # no ament, or not installed by it
        return ()
