# SPDX-License-Identifier: Apache-2.0
"""How many questions a network answers correctly and what its captions claim, on scenes it was
never trained on; and the curve of a run.

Answers are compared by the grammar of the simulated world, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from penguin_sim_batches import seen_as, to_patches
from penguin_sim_grids import INTERMEDIATE, KEY, Grid
from penguin_sim_network import KeysValues, SimNetwork
from penguin_sim_shards import Shard
from penguin_sim_trainer import embedded, encoded
from penguin_sim_words import IGNORED, Texts

from penguin_ros.config import DEFAULT_CAPTION_PROMPT
from penguin_ros.simulation.language import parse_caption

MAX_CAPTION = 72
CLIPS_AT_ONCE = 16
CURVES = (
    'cells',
    'motion',
    'captions',
    'long texts',
    'short texts',
    'cell colour',
    'cell shape',
    'cell motion',
)
CAPTION, COMPRESSED = 'caption', 'all with intermediate frames'
Tallies = dict[str, tuple[int, int]]
"""Per kind of question, how many answers are right and how many were asked."""


def score(network: SimNetwork, shard: Shard, texts: Texts) -> tuple[Tallies, list[str]]:
    """Returns counts, with 'caption precision' and 'caption recall' of single claims, and the
    captions with their truths, to look at.

    An answer has one wording, so greedy decoding yields it exactly when each of its tokens is the
    likeliest after those before it: one pass judges all answers. Captions are decoded.
    """
    counts: Tallies = {}
    lines: list[str] = []
    full = [KEY] * shard.frames.shape[1]
    for start in range(0, len(shard.texts), CLIPS_AT_ONCE):
        clips = shard.texts[start : start + CLIPS_AT_ONCE]
        frames = shard.frames[start : start + CLIPS_AT_ONCE]
        asked = [clip['questions'] for clip in clips]
        kept, compressed = (
            clip_prefix(network, frames, texts, grids)
            for grids in (full, [*full[:1], *[INTERMEDIATE] * (len(full) - 1)])
        )
        judged = _answers(network, kept, asked, texts)
        judged += [
            (COMPRESSED, right, one)
            for _, right, one in _answers(network, compressed, asked, texts)
        ]
        for clip, text in zip(clips, captions(network, kept, texts), strict=True):
            judged += _claims(clip['caption'], text)
            lines.append(f'{text}   [{clip["caption"]}]')
        for name, right, total in judged:
            before = counts.get(name, (0, 0))
            counts[name] = before[0] + right, before[1] + total
    return counts, lines


def _claims(truth: str, text: str) -> list[tuple[str, int, int]]:
    said, true = parse_caption(text), parse_caption(truth)
    assert true is not None, truth
    claims, wanted = said.claims() if said else frozenset(), true.claims()
    right = len(claims & wanted)
    return [
        ('caption precision', right, len(claims)),
        ('caption recall', right, len(wanted)),
        ('caption whole', int(claims == wanted), 1),
    ]


@torch.no_grad()
def clip_prefix(
    network: SimNetwork, frames: NDArray[np.uint8], texts: Texts, grids: Sequence[Grid]
) -> KeysValues:
    """Returns what texts about clips (B, T, height, width, 3) uint8 branch off; there are T
    grids.
    """
    device = network.llm.embed_tokens.weight.device
    features = torch.cat(
        [
            encoded(network, to_patches(seen_as(frames[:, frame], grid)).to(device), grid)
            for frame, grid in enumerate(grids)
        ],
        1,
    )
    prefix = torch.from_numpy(
        texts.prefix([float(index) for index in range(len(grids))], [grid.cells for grid in grids])
    )
    prefix = prefix.to(device)
    return network.prefix(
        embedded(network, prefix, torch.nonzero(prefix == texts.image)[:, 0], features)
    )[0]


@torch.no_grad()
def _answers(
    network: SimNetwork,
    kept: KeysValues,
    questions: Sequence[Sequence[Sequence[str]]],
    texts: Texts,
) -> list[tuple[str, int, int]]:
    """Returns (kind, is it right, 1) of every question."""
    most = max(len(of_clip) for of_clip in questions)
    filled = [[*of_clip, *[('', 'What?', '')] * (most - len(of_clip))] for of_clip in questions]
    ids, targets = texts.rows(
        [(question, truth) for of_clip in filled for _, question, truth in of_clip]
    )
    device = kept[0][0].device
    wanted = torch.from_numpy(targets).to(device)
    hidden = network.branch(
        kept, torch.from_numpy(ids).to(device).view(len(filled), most, -1)
    ).flatten(0, 1)
    is_right = (
        ((network.logits(hidden).argmax(-1) == wanted) | (wanted == IGNORED)).all(-1).tolist()
    )
    kinds = [kind for of_clip in filled for kind, _, _ in of_clip]
    return [(kind, int(right), 1) for kind, right in zip(kinds, is_right, strict=True) if kind]


@torch.no_grad()
def captions(
    network: SimNetwork, kept: KeysValues, texts: Texts, prompt: str = DEFAULT_CAPTION_PROMPT
) -> list[str]:
    """Returns greedy answers to `prompt`, one per clip. Every step runs all tokens again, which is
    simple, and texts are short.
    """
    suffix = texts.suffix(prompt)
    device, clips = kept[0][0].device, len(kept[0][0])
    ids = torch.tensor(suffix, device=device).expand(clips, 1, -1)
    done = torch.zeros(clips, dtype=torch.bool, device=device)
    for _ in range(MAX_CAPTION):
        token = network.logits(network.branch(kept, ids)[:, 0, -1]).argmax(-1)
        done |= token == texts.end
        if bool(done.all()):
            break
        ids = torch.cat((ids, torch.where(done, texts.end, token)[:, None, None]), -1)
    return [texts.decode(row[len(suffix) :]) for row in ids[:, 0].tolist()]


def table(counts: Mapping[str, tuple[int, int]]) -> str:
    """Returns one line with the share and the number of each kind."""
    return ', '.join(
        f'{kind} {right / max(1, total):.1%} of {total}'
        for kind, (right, total) in sorted(counts.items())
    )


def draw_curve(
    path: Path, losses: Sequence[Mapping[str, float]], scores: Sequence[Mapping[str, Any]]
) -> None:
    """Draws losses and scores over the clips seen, as a PNG."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5))
    _draw_losses(left, losses)
    # more lines than colours otherwise
    right.set_prop_cycle(color=matplotlib.colormaps['tab20'].colors)
    _draw_scores(right, scores)
    for axes, title in (
        (left, 'training: losses, shares of cells'),
        (right, 'held-out scenes: share right'),
    ):
        axes.set(title=title, xlabel='clips', ylim=(0, 2 if axes is left else 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _draw_losses(axes: Any, losses: Sequence[Mapping[str, float]]) -> None:
    for name in CURVES:
        points = [(entry['clips'], entry[name]) for entry in losses if name in entry]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, linewidth=1)


def _draw_scores(axes: Any, scores: Sequence[Mapping[str, Any]]) -> None:
    for name in sorted({kind for entry in scores for kind in entry['counts']}):
        points = [
            (entry['clips'], entry['counts'][name][0] / max(1, entry['counts'][name][1]))
            for entry in scores
            if name in entry['counts']
        ]
        axes.plot(*zip(*points, strict=True), label=name, marker='.', linewidth=1)
