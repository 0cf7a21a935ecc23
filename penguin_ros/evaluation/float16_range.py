# SPDX-License-Identifier: Apache-2.0
"""Measures how large the numbers inside a network become, in float32 on ONNX Runtime, and chooses
the powers of two that keep them inside the range of float16.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.base.manifest import ScalingSpec
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.config import CaptionConfig, VisualConfig
from penguin_ros.errors import BuildRefused
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.precision import BuildChoice, plan_precision
from penguin_ros.export.scaling import chosen_scaling
from penguin_ros.frame import Clip, Frame
from penguin_ros.libraries import remedy
from penguin_ros.media.recordings import open_recording
from penguin_ros.preprocessing.clip_inputs import Preprocessor

FPS, FRAMES = 1.0, 8
"""Frames of the recording that are looked at, from its start on."""

VISUAL_TOKENS = 1024

Maxima = Mapping[str, Mapping[str, tuple[float, ...]]]
"""By part, 'vision' and 'decoder', and by kind of value: the largest magnitude of each place, in
the order of the layers.
"""


@dataclass(frozen=True)
class MeasuredRange:
    """What was measured, and the `scaling` that follows, by part; none for a part that fits."""

    maxima: Maxima
    scaling: Mapping[str, ScalingSpec]

    def lines(self) -> list[str]:
        """Returns it in words, a line for each part."""
        found = []
        for part, kinds in self.maxima.items():
            spec = self.scaling.get(part, ScalingSpec())
            words = ', '.join(f'{kind} {max(values):.4g}' for kind, values in kinds.items())
            found.append(
                f'{part}: largest magnitudes {words}; computed smaller by 2^{spec.residual} and '
                f'2^{spec.gated}'
            )
        return found


def measure_range(
    checkpoint: Checkpoint,
    recording: Path,
    folder: Path,
    threads: int = 0,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> MeasuredRange:
    """Runs the beginning of a recording with the question for a caption through the network in
    float32. The weights lie beside `folder` meanwhile, 4 bytes each.
    """
    try:
        from penguin_ros.backends.onnxruntime.maxima import maxima_of
    except ImportError as error:
        raise BuildRefused(
            'the range of numbers cannot be measured here',
            f'importing {error.name} failed',
            remedy(error, 'onnxruntime'),
        ) from error
    tokens = min(VISUAL_TOKENS, checkpoint.shape.max_positions // 2)
    visual = VisualConfig(max_visual_tokens=tokens)
    preprocessor = Preprocessor(checkpoint.shape, checkpoint.tokenizer, visual)
    inputs = preprocessor.clip_inputs(_beginning(recording), CaptionConfig().prompt)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.measure-', dir=folder.parent) as place:
        length = max(1, len(inputs.prompt.token_ids))
        order = BuildOrder(BuildChoice(), length, threads=threads, has_maxima=True)
        path = build_bundle(checkpoint, Path(place) / 'bundle', order, progress)
        found = maxima_of(open_bundle(path, is_thorough=False), inputs)
    maxima = {
        part: {kind: tuple(np.asarray(values).tolist()) for kind, values in kinds.items()}
        for part, kinds in found.items()
    }
    return MeasuredRange(maxima, chosen_scaling(maxima))


def check_range_is_needed(choice: BuildChoice) -> None:
    """Raises BuildRefused where no activations are float16."""
    plan = plan_precision(choice)
    if 'float16' not in (plan.compute, plan.encoder_compute):
        raise BuildRefused(
            f'--measure-range beside activations in {plan.compute}',
            'only float16 has a range that numbers may leave',
            'Leave it out, or take --compute float16',
        )


def _beginning(recording: Path) -> Clip:
    frames = islice(open_recording(recording).frames(FPS), FRAMES)
    found = tuple(Frame(time_ns, image) for time_ns, image in frames)
    if not found:
        raise BuildRefused(f'{recording} holds no image', 'the range is measured on images')
    return Clip('recording', found)
