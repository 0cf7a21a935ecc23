# SPDX-License-Identifier: Apache-2.0
"""What the cases come to, as ratios, each with the value that is wanted of it.

What is wanted holds for the 2B shape in int4 on two CPU cores; it is shown for every model and
judged for none. On a GPU a cold clip takes so little that shares of it mean little: there the next
caption and the second question are wanted within milliseconds, the same for every model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penguin_ros.benchmark.live.drafts import replayed
from penguin_ros.benchmark.live.scenes import CHANGING, STATIC
from penguin_ros.benchmark.live.tasks import JsonObject

IDLE_FACTOR = 1.5

NEXT_CAPTION_MS, QUESTION_MS = 40.0, 15.0
"""Wanted on a GPU: encode and prefill of a caption with one new frame, and the first token of a
question about a clip that was seen."""


@dataclass(frozen=True)
class Ratio:
    """The `value` of a ratio of the two things that `how` names, or in `unit`; at most `wanted` is
    wanted.
    """

    name: str
    value: float
    wanted: float
    how: str
    unit: str = ''


@dataclass(frozen=True)
class TextSource:
    """The model whose texts are drafted at the costs of others: its `name` and its `texts` by
    scene.
    """

    name: str
    texts: Mapping[str, list[JsonObject]]


def ratios(record: JsonObject, text_source: TextSource | None, draft_tokens: int) -> list[Ratio]:
    """All ratios that the record of one model allows."""
    cases = {case['name']: case for case in record.get('cases', [])}
    found = [
        *_clips(cases, record.get('facts', {}).get('device', 'cpu') != 'cpu'),
        *_interrupted(record.get('interrupt', [])),
        *_own_drafts(record.get('captions', [])),
    ]
    if text_source is not None and 'pass_s' in record:
        found += _others_drafts(record['pass_s'], text_source, draft_tokens)
    return found


def _clips(cases: Mapping[str, JsonObject], is_on_gpu: bool) -> Iterator[Ratio]:
    if 'append 1 to 7' in cases:
        ours, cold = cases['append 1 to 7']['reuse'], cases['cold clip']['recompute']
        how = 'encode + prefill, growing window of one anchor and seven intermediates'
        yield _wanted(
            'next caption after one new frame',
            (_work(ours), _work(cold)),
            (NEXT_CAPTION_MS if is_on_gpu else 0.12, is_on_gpu),
            (how, "the cold clip's"),
        )
    if 'slide by 1 of 8' in cases:
        ours, cold = (
            cases['slide by 1 of 8']['reuse'],
            cases['cold clip, 8 equal frames']['recompute'],
        )
        yield Ratio(
            'encode after a slide by 1 of 8',
            ours['encode_s'] / cold['encode_s'],
            0.15,
            "sliding window of equal frames, over the cold clip's encode",
        )
    if 'second question' in cases:
        ours, cold = cases['second question']['reuse'], cases['cold clip']['recompute']
        yield _wanted(
            'first token of the second question',
            (ours['first_token_s'], cold['first_token_s']),
            (QUESTION_MS if is_on_gpu else 0.025, is_on_gpu),
            ('', "the cold clip's first token"),
        )


def _wanted(
    name: str, seconds: tuple[float, float], wanted: tuple[float, bool], how: tuple[str, str]
) -> Ratio:
    """A time over that of a cold clip, or, where `wanted` is absolute, in milliseconds; `how` names
    both.
    """
    (ours, cold), (most, is_absolute), (of_ours, of_cold) = seconds, wanted, how
    if is_absolute:
        words = f'{ours / cold:.3f} of {of_cold}'
        return Ratio(name, 1e3 * ours, most, f'{of_ours}; {words}' if of_ours else words, 'ms')
    words = f'over {of_cold}'
    return Ratio(name, ours / cold, most, f'{of_ours}, {words}' if of_ours else words)


def _work(case: JsonObject) -> float:
    return float(case['encode_s'] + case['prefill_s'])


def _interrupted(phases: list[JsonObject]) -> Iterator[Ratio]:
    for phase in phases:
        if phase['asked']:
            yield Ratio(
                f'question during a caption, {phase["name"]}',
                phase['busy_s'] / (IDLE_FACTOR * phase['idle_s'] + phase['step_s']),
                1.0,
                f'first token over {IDLE_FACTOR} x that of an idle engine + one step',
            )


def _own_drafts(captions: list[JsonObject]) -> Iterator[Ratio]:
    found = {(each['scene'], each['course']): each for each in captions}
    for scene, wanted in ((STATIC, 0.5), (CHANGING, 1.05)):
        ours, plain = found.get((scene, 'reuse, drafts'), {}), found.get((scene, 'reuse'), {})
        if ours.get('decode_s') and plain.get('decode_s'):
            yield Ratio(
                f'decode with drafts, {scene} scene',
                ours['decode_s'] / plain['decode_s'],
                wanted,
                'its own texts, measured, over decode without drafts',
            )


def _others_drafts(
    pass_s: Mapping[str, float], text_source: TextSource, draft_tokens: int
) -> Iterator[Ratio]:
    for scene, wanted in ((STATIC, 0.5), (CHANGING, 1.05)):
        made = replayed(text_source.texts.get(scene, []), pass_s, draft_tokens)
        if made['ratio'] is not None:
            yield Ratio(
                f'decode with drafts at its costs, {scene} scene',
                made['ratio'],
                wanted,
                f'{made["texts"]} texts of {text_source.name} ({made["tokens"]} tokens, '
                f'{made["passes_per_token"]:.2f} passes each, worst text '
                f'{made["worst_ratio"]:.2f}) at the cost per pass measured here',
            )
