# SPDX-License-Identifier: Apache-2.0
"""What a benchmark measures, as values: a target with its settings, and the reason why one failed.

The benchmarks of an engine and of a live camera and the doctor all use them. This file imports
nothing of its room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penguin_ros.backends.base.manifest import MANIFEST
from penguin_ros.checkpoint.hub import is_hub_id
from penguin_ros.errors import PenguinError
from penguin_ros.settings import Value
from penguin_ros.shipped import MODEL_NAMES

ONNXRUNTIME = 'onnxruntime'


@dataclass(frozen=True)
class Target:
    """A bundle or a checkpoint that is measured.

    `source` is the folder of a bundle, or the folder or hub id of a checkpoint. `graphs_in`
    'onnxruntime' runs the graphs of a TensorRT bundle in ONNX Runtime on the CPU instead.
    `settings` holds values by dotted name, those that differ from the defaults only.
    """

    source: str
    graphs_in: str = ''
    settings: Mapping[str, Value] = field(default_factory=dict)

    @property
    def is_bundle(self) -> bool:
        """Whether it is opened as a bundle. A folder that is no checkpoint counts as one, so that
        the error says that there is no bundle in it.
        """
        path = Path(self.source)
        if path.is_dir():
            return (path / MANIFEST).exists() or not (path / 'config.json').exists()
        if self.source in MODEL_NAMES:
            return False
        return not is_hub_id(self.source) or path.parent.is_dir()

    @property
    def name(self) -> str:
        """Its name for people."""
        name = Path(self.source).name or self.source
        return f'{name} in ONNX Runtime' if self.graphs_in else name


@dataclass(frozen=True)
class TargetError:
    """Why a target did not run: the class of the error, and its three parts."""

    kind: str
    what: str
    why: str = ''
    fix: str = ''

    @staticmethod
    def of(error: BaseException) -> TargetError:
        """Takes the parts of an error of errors.py, and the text of any other one."""
        if isinstance(error, PenguinError):
            return TargetError(type(error).__name__, error.what, error.why, error.fix)
        return TargetError(type(error).__name__, str(error) or 'no text')

    def in_words(self) -> str:
        """What failed and why in one line, and the remedy in a second one where there is one."""
        text = f'{self.kind}: {self.what}' + (f': {self.why}' if self.why else '')
        return text + (f'\n→ {self.fix}' if self.fix else '')
