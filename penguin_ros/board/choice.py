# SPDX-License-Identifier: Apache-2.0
"""What is chosen for this board from what was measured on it: formats, form of the softmax, form of
the LLM, size of frames, what decodes. Each choice says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from penguin_ros.board.decode_times import faster, sooner
from penguin_ros.board.profile import BoardProfile
from penguin_ros.board.result import Facts, Results, facts_of

Entry = Mapping[str, Any]
FUSED_RATIO = 1.6
"""A product is read at the speed of memory when it takes at most so many times the time of its
bytes: what a board reads well lies within, what it unpacks first lies far outside.
"""

MOST_ERROR = {'float16': 0.01, 'bfloat16': 0.05, 'int4': 0.01, 'int8': 0.01}
"""The largest error of a product, in proportion to its largest value, by format."""

MOST_DIFFERENCE = 0.05
ALIKE = 1.03
"""Times that differ by less than this factor are alike."""

WEIGHTS = ('int4', 'int8', 'float16')
"""What the linears may be, in the order in which they are taken when none was measured."""

HEADS = ('int4', 'float16')
UNMEASURED = WEIGHTS[0]
SMALL_WORKSPACE = 1 / 16
"""The share of the memory that the encoder's intermediate values may take."""


def choose(results: Results) -> BoardProfile:
    """Returns what the results speak for."""
    products = facts_of(results, 'products')
    decoder = facts_of(results, 'decoder_layer').get('forms', {})
    encoder = facts_of(results, 'encoder_layer').get('forms', {})
    precision, why_precision = best_weights(products)
    head, why_head = best_head(products)
    forms = [name for name, _ in ranked(decoder)]
    patches, softmax, why_encoder = best_encoder(encoder, facts_of(results, 'memory'))
    best_forms = {'decoder': tuple(forms), 'vision': tuple(_encoder_forms(encoder))}
    why_decoder = f'LLM {forms[0]}: the fastest that agrees' if forms else ''
    decode, why_decode = faster(facts_of(results, 'kernels'))
    backend, why_backend = sooner(results)
    reasons = (why_precision, why_head, why_decoder, why_encoder, why_decode, why_backend)
    compute = _compute(results)
    return BoardProfile(
        precision=_computable(precision, compute),
        head=_computable(head, compute),
        compute=compute,
        variant=str(decoder[forms[0]]['variant']) if forms else '',
        decode=decode,
        backend=backend,
        softmax=softmax,
        max_patches=patches,
        forms={name: found for name, found in best_forms.items() if found},
        reasons=tuple(reason for reason in reasons if reason),
    )


def chosen_weights(facts: Mapping[str, Facts]) -> str:
    """Returns the format of the linears that the facts of the steps so far speak for."""
    return best_weights(facts.get('products', {}))[0] or UNMEASURED


def best_weights(products: Facts) -> tuple[str, str]:
    """Returns the format of the linears whose product of one row is fastest, and why."""
    times = {
        name: rows['1']['seconds']
        for name, rows in products.get('layer', {}).items()
        if name in WEIGHTS and is_right(name, rows.get('1', {}))
    }
    return _fastest(times, 'linears')


def best_head(products: Facts) -> tuple[str, str]:
    """Returns the format of the head whose product is fastest, and why."""
    times = {
        name: entry['seconds']
        for name, entry in products.get('head', {}).items()
        if name in HEADS and is_right(name, entry)
    }
    return _fastest(times, 'head')


def best_encoder(forms: Mapping[str, Any], memory: Facts) -> tuple[int, str, str]:
    """Returns the most patches whose intermediate values leave the memory to others, the form of
    softmax, and why.
    """
    names = _encoder_forms(forms)
    if not names:
        return 0, '', ''
    best = forms[names[0]]
    room = SMALL_WORKSPACE * memory.get('total_bytes', 0)
    fitting = [
        int(patches)
        for patches, entry in best.items()
        if 'seconds' in entry and (not room or entry['workspace_bytes'] <= room)
    ]
    patches = max(fitting, default=min(map(int, best)))
    softmax = names[0].partition(': ')[2]
    return patches, softmax, f'encoder {names[0]}: the fastest that agrees, {patches} patches'


def is_right(name: str, entry: Entry) -> bool:
    """Returns whether a product was measured and came near what it must be."""
    error = entry.get('error')
    return 'seconds' in entry and error is not None and error <= MOST_ERROR[name.split()[0]]


def ranked(forms: Mapping[str, Entry]) -> list[tuple[str, Entry]]:
    """Returns the forms that agree with the plainest one, the fastest first."""
    agreeing = [(name, entry) for name, entry in forms.items() if agrees(entry)]
    return sorted(agreeing, key=lambda pair: step_of(pair[1]['seconds']))


def step_of(seconds: float) -> int:
    """Returns the place of a time on a scale whose steps are ALIKE apart: what falls together is
    equally fast, and the builder's own order decides.
    """
    return round(math.log(max(seconds, 1e-12), ALIKE))


def agrees(entry: Entry) -> bool:
    """Returns whether a form was measured and differs from the plainest one by rounding only."""
    difference = entry.get('difference')
    return 'seconds' in entry and difference is not None and difference <= MOST_DIFFERENCE


def _encoder_forms(forms: Mapping[str, Any]) -> list[str]:
    """Returns the names of the forms by the time of the largest frame that all of them took."""

    def seconds(entries: Mapping[str, Entry]) -> Iterator[tuple[int, int]]:
        for patches, entry in entries.items():
            if agrees(entry):
                yield -int(patches), step_of(entry['seconds'])

    found = {name: sorted(seconds(entries)) for name, entries in forms.items()}
    return sorted((name for name in found if found[name]), key=lambda name: found[name][0])


def _compute(results: Results) -> str:
    """bfloat16 where float16 was seen to overflow."""
    return 'bfloat16' if facts_of(results, 'numbers').get('overflow') else ''


def _computable(kind: str, compute: str) -> str:
    """A matrix of floats is of the format that is computed in."""
    return compute if compute and kind == 'float16' else kind


def _fastest(times: Mapping[str, float], what: str) -> tuple[str, str]:
    if not times:
        return '', ''
    best = min(times, key=lambda name: times[name])
    shown = ', '.join(f'{name} {1e6 * seconds:.0f} µs' for name, seconds in times.items())
    return best, f'{what} {best}: {shown}'
