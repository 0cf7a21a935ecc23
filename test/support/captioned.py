# SPDX-License-Identifier: Apache-2.0
"""`penguin caption` with a stand-in for the model that notes which frames it was shown."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from penguin_ros.cli import caption, main
from penguin_ros.frame import Frame, FrameType
from penguin_ros.request import Answer, Evidence, FrameRef

EVERY_FRAME = ('--bundle', 'none', '--fps', '240', '--max-frames', '180', '--clip-seconds', '0.7')


@dataclass
class Captioned:
    """How a run ended: what it showed the model, and what it said on stderr."""

    code: int
    frames: list[Frame]
    err: str

    @property
    def times(self) -> list[int]:
        """The times of the frames."""
        return [frame.stamp_ns for frame in self.frames]

    @property
    def greys(self) -> list[int]:
        """The first pixel of each frame."""
        return [int(frame.image[0, 0, 0]) for frame in self.frames]

    @property
    def left_out(self) -> dict[str, int]:
        """How many images were left out, by cause."""
        found = re.findall(r'… (\d+) images? (?:was|were) left out \((\w+)\)', self.err)
        return {cause: int(count) for count, cause in found}

    @property
    def none_used(self) -> int:
        """How many there were where none could be used."""
        found = re.search(r'none of the (\d+) images', self.err)
        return int(found[1]) if found else 0


def caption_with_stand_in(source: Path, words: Sequence[str] = EVERY_FRAME) -> Captioned:
    """Runs the command over a recording; every frame is due unless `words` say otherwise."""
    frames: list[Frame] = []

    class Runner:
        def __init__(self, config: object) -> None:
            pass

        def __enter__(self) -> Runner:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def caption(self, clip: list[Frame]) -> Answer:
            frames.extend(clip)
            used = tuple(FrameRef(each.stamp_ns, '', '', FrameType.KEY) for each in clip)
            evidence = Evidence(used, clip[0].stamp_ns, clip[-1].stamp_ns)
            return Answer('', '', '', 'Something.', evidence)

    said = io.StringIO()
    model = SimpleNamespace(with_model=lambda config, needed_by, fix: config)
    with (
        mock.patch.object(caption, 'OfflineRunner', Runner),
        mock.patch.object(caption, 'with_model', model.with_model),
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = main.main(['caption', str(source), *words])
    return Captioned(code, frames, said.getvalue())
