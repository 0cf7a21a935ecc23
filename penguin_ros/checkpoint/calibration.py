# SPDX-License-Identifier: Apache-2.0
"""The temperatures that were fitted for a model's probabilities of answers, as they lie beside its
weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from penguin_ros.checkpoint.json_file import is_file, read_json

CALIBRATION = 'calibration.json'
"""The file; a model without one has not been fitted."""


@dataclass(frozen=True)
class AnswerTemperatures:
    """What the logarithms of odds are divided by, between yes and no and among choices: above 1 the
    model was too sure, below 1 not sure enough.
    """

    yes_no: float = 1.0
    choices: float = 1.0

    def as_plain(self) -> dict[str, float]:
        """Returns what the file holds."""
        return asdict(self)


def read_answer_temperatures(folder: Path) -> AnswerTemperatures:
    """Reads the file of a checkpoint or bundle, 1 where there is none; CheckpointConfigError when
    it is malformed.
    """
    if not is_file(folder / CALIBRATION):
        return AnswerTemperatures()
    file = read_json(folder / CALIBRATION)
    return AnswerTemperatures(file.number('yes_no'), file.number('choices'))
