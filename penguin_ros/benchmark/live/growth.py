# SPDX-License-Identifier: Apache-2.0
"""First tokens as a clip grows frame by frame, with and without reuse, and the plot of them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penguin_ros.atomic_file import check_output, write_bytes
from penguin_ros.benchmark.live.clips import FPS, QUESTIONS, WIDE, windowed
from penguin_ros.benchmark.live.scenes import clip_images, framed
from penguin_ros.benchmark.live.tasks import JsonObject
from penguin_ros.benchmark.live.texts import TextBench
from penguin_ros.errors import PenguinError, PromptTooLong
from penguin_ros.libraries import remedy

MOST_FRAMES = 32
RECOMPUTED, RECOMPUTED_SLOW = (2, 4, 8, 12, 16, 20, 24, 28, 32), (2, 8, 16, 24, 32)
"""Numbers of frames at which the clip is recomputed, too."""

LABEL_TOKENS, QUESTION_TOKENS = 12, 96
"""The most tokens of a prompt for the label of a frame, and for what stands around the frames."""

CHARACTERS = 80
"""The length of a line below one panel."""

LEAST_TOKENS = 8
"""The fewest tokens of an intermediate frame; with fewer the plot would be of something else."""


def growth(bench: TextBench) -> JsonObject:
    """Measures first tokens: `reuse_s` by `frames` when only the newest frame is new, `recompute_s`
    by `recomputed` when all frames are.

    The budget of a clip is what fits in a KV slot; PromptTooLong when that is too little for
    MOST_FRAMES.
    """
    tokens = _intermediate_tokens(bench)
    further = {
        **WIDE,
        'visual.max_visual_tokens': 16384,
        'visual.min_visual_tokens': 1,
        'visual.intermediate_tokens': tokens,
    }
    frames = framed(clip_images(MOST_FRAMES, bench.task.size), FPS)
    found: JsonObject = {
        'intermediate_tokens': tokens,
        'frames': [],
        'reuse_s': [],
        'recomputed': [],
        'recompute_s': [],
    }
    with bench.kept() as caches:
        for count in range(1, MOST_FRAMES + 1):
            clip = windowed(bench, 'growing', frames[:count], further)
            text = bench.text(caches, clip, QUESTIONS[0], limits={'max_tokens': 1})
            found['frames'].append(count)
            found['reuse_s'].append(text.samples['first_token_s'])
            if count in (RECOMPUTED_SLOW if bench.is_slow else RECOMPUTED):
                text = bench.text(bench.plain, clip, QUESTIONS[0], limits={'max_tokens': 1})
                found['recomputed'].append(count)
                found['recompute_s'].append(text.samples['first_token_s'])
    return found


def _intermediate_tokens(bench: TextBench) -> int:
    visual = bench.config.visual
    length = bench.loaded.description.max_length
    room = length - QUESTION_TOKENS - MOST_FRAMES * LABEL_TOKENS - visual.key_tokens
    tokens = min(visual.intermediate_tokens, room // (MOST_FRAMES - 1))
    if tokens < LEAST_TOKENS:
        raise PromptTooLong(
            f'{MOST_FRAMES} frames do not fit in a KV slot of {length}',
            '',
            'Raise model.max_length, or build the bundle with a larger --max-length',
        )
    return tokens


def check_plot(path: Path) -> None:
    """Raises PenguinError when no plot can be drawn, before anything is measured."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise PenguinError(
            'no plot can be drawn',
            f'importing {error.name} failed',
            remedy(error, 'matplotlib'),
        ) from error
    if path.suffix.lower() not in ('.png', '.svg', '.pdf'):
        raise PenguinError(
            f'{path} cannot be drawn', 'its ending says what it is', 'Use .png, .svg or .pdf'
        )
    check_output(path, option='--plot FILE')


def draw(path: Path, named: Sequence[tuple[str, JsonObject]], machine: str) -> None:
    """Draws a panel per model: its title and what `growth` found."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(named), figsize=(6.4 * len(named), 4.2), squeeze=False, layout='constrained'
    )
    for axes, (title, found) in zip(panels[0], named, strict=True):
        _panel(axes, title, found)
    where = textwrap.fill(machine, CHARACTERS * len(named))
    figure.supxlabel(f'frames in the clip, one more each time\n{where}', fontsize=9)
    drawn = io.BytesIO()
    try:
        figure.savefig(drawn, dpi=150, format=path.suffix[1:].lower())
    finally:
        pyplot.close(figure)
    write_bytes(path, drawn.getvalue())


def _panel(axes: Any, title: str, found: JsonObject) -> None:
    axes.plot(found['recomputed'], found['recompute_s'], 'o-', color='#b04030', label='recomputed')
    axes.plot(found['frames'][1:], found['reuse_s'][1:], '.-', color='#2060a0', label='with reuse')
    axes.set_title(title, fontsize=10)
    axes.set_ylabel('first token, s')
    axes.set_xlim(0, MOST_FRAMES + 1)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
