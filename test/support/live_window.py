# SPDX-License-Identifier: Apache-2.0
"""A live pipeline with a window, whose cameras show scenes."""

from __future__ import annotations

from pathlib import Path

from support.live_pipeline import MS, START, LivePipeline
from support.stepped_jobs import LIVENESS_SECONDS
from support.window_streams import image

from penguin_ros.frame import Frame


class LiveWindow(LivePipeline):
    """Cameras that show scenes; nothing is precomputed unless asked for."""

    def __init__(
        self,
        checkpoint: Path,
        *,
        cameras: tuple[str, ...] = ('front',),
        window: str = 'growing',
        precompute: str = 'off',
        **values: object,
    ) -> None:
        super().__init__(
            checkpoint, cameras, clip__window=window, clip__precompute=precompute, **values
        )

    def scene(
        self,
        *milliseconds: int,
        scene: int = 0,
        camera: str = 'front',
        size: tuple[int, int] = (56, 84),
    ) -> None:
        for ms in milliseconds:
            self.now.turn(max(0, START + ms * MS - self.now()))
            self.pipeline.add_frame(
                Frame(START + ms * MS, image(scene, size, noise=ms), camera, f'{camera}_optical')
            )

    def wait_idle(self) -> None:
        assert self.pipeline._scheduler.wait_idle(LIVENESS_SECONDS)
