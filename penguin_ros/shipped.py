# SPDX-License-Identifier: Apache-2.0
"""Where the files lie that come with the package and are no Python: the small model, parameters.

In a checkout they lie at its root; colcon and pip put them in `share/penguin_ros` of the prefix
that they install to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from penguin_ros.errors import PenguinError

SHARE = Path('share') / 'penguin_ros'
MODEL = 'penguin_sim'
MODEL_NAMES = (MODEL, f'engines/{MODEL}')
"""What the small model may be called wherever a checkpoint is named."""
PARAMETERS = Path('config') / 'simulation.yaml'


def simulation_parameters() -> Path:
    """Returns the file with the parameters for simulated worlds; PenguinError where it was not
    installed.
    """
    found = next((path for root in roots() if (path := root / PARAMETERS).is_file()), None)
    if found is None:
        raise PenguinError(
            f'{PARAMETERS} is not here', 'it was not installed with penguin_ros', 'Install it again'
        )
    return found


def shipped_model() -> Path | None:
    """Returns the folder of the small model that knows the simulated world; None where its weights
    are absent.
    """
    for root in roots():
        folder = root / 'engines' / MODEL
        if (folder / 'config.json').is_file() and any(folder.glob('*.safetensors')):
            return folder
    return None


def roots() -> Iterator[Path]:
    """Yields the folders that these files may lie in: the checkout, then the share folder of each
    folder above the package.
    """
    package = Path(__file__).resolve().parent
    yield package.parent
    for folder in package.parents[:-1]:
        yield folder / SHARE
