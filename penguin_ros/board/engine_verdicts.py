# SPDX-License-Identifier: Apache-2.0
"""What the small engines mean, in words: which formats are multiplied as they are stored, whether
attention is one kernel, whether all of it is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from penguin_ros.board.choice import (
    FUSED_RATIO,
    MOST_ERROR,
    agrees,
    best_head,
    best_weights,
    ranked,
)
from penguin_ros.board.result import FAULT, NOTE, OK, Facts, Results, Verdict, facts_of

Entry = Mapping[str, Any]
PLAN_RATIO = 1.5
"""An engine of one matrix that is larger than so many times its weights holds them unpacked."""

FUSED_STATES = {'int4': FAULT, 'int8': NOTE}
"""How much it matters that a format is unpacked: int4 is what bundles for boards are made of."""

REMEDIES = {
    ('layer', 'int4'): 'On 16 GB and more take --precision float16',
    ('layer', 'int8'): 'Take --precision int4',
    ('head', 'int4'): 'Take --head float16',
    ('head', 'int8'): 'Take --head int4 or float16',
}


def engine_verdicts(results: Results) -> list[Verdict]:
    """Returns what step 4 means; nothing of what was not run."""
    rate = facts_of(results, 'memory').get('copy_bytes_per_s', 0.0)
    products = facts_of(results, 'products')
    found = [*_products(products, rate), *_best(products)]
    if decoder := facts_of(results, 'decoder_layer').get('forms'):
        found += _decoder(decoder)
    if encoder := facts_of(results, 'encoder_layer').get('forms'):
        found += _encoder(encoder)
    return [*found, *_top_token(facts_of(results, 'top_token'))]


def _products(products: Facts, rate: float) -> Iterator[Verdict]:
    layer = {name: rows.get('1', {}) for name, rows in products.get('layer', {}).items()}
    for place, entries in (('layer', layer), ('head', products.get('head', {}))):
        failed = [name for name, entry in entries.items() if 'why' in entry]
        if failed:
            why = entries[failed[0]]['why']
            yield Verdict(f'{place} formats', NOTE, f'not built: {", ".join(failed)} ({why})')
        for name, entry in entries.items():
            if 'seconds' in entry:
                yield from _wrong(place, name, entry)
                if name in FUSED_STATES and rate:
                    yield _fused(place, name, entry, rate)


def _wrong(place: str, name: str, entry: Entry) -> Iterator[Verdict]:
    error = entry.get('error')
    if error is None or error > MOST_ERROR[name.split()[0]]:
        shown = 'NaN or infinity' if error is None else f'an error of {error:.2g}'
        yield Verdict(f'{place} {name}', FAULT, f'computes wrongly: {shown}', 'Do not use it')


def _fused(place: str, name: str, entry: Entry, rate: float) -> Verdict:
    """Judges by time, and says what the size of the engine and its layers say."""
    times = entry['seconds'] * rate / entry['weight_bytes']
    size = entry['plan_bytes'] / entry['weight_bytes']
    words = f'{times:.1f} times the time of its bytes, engine {size:.1f} times its weights'
    if entry.get('unpacked'):
        words += f', {entry["unpacked"]} layers give out a whole weight'
    if times <= FUSED_RATIO and size <= PLAN_RATIO:
        return Verdict(f'{place} {name}', OK, f'multiplied as it is stored: {words}')
    remedy = REMEDIES[place, name]
    return Verdict(f'{place} {name}', FUSED_STATES[name], f'unpacked in each step: {words}', remedy)


def _best(products: Facts) -> Iterator[Verdict]:
    chosen = {'linears': best_weights(products), 'head': best_head(products)}
    for topic, (_, words) in chosen.items():
        if words:
            yield Verdict(topic, OK, words.partition(' ')[2])


def _decoder(forms: Mapping[str, Entry]) -> Iterator[Verdict]:
    agreeing = ranked(forms)
    if agreeing:
        name, entry = agreeing[0]
        kernel = _kernel(entry)
        yield Verdict('LLM layer', OK, f'{name}, {1e6 * entry["seconds"]:.0f} µs; {kernel}')
    yield from _failed('LLM layer', forms)


def _encoder(forms: Mapping[str, Mapping[str, Entry]]) -> Iterator[Verdict]:
    for patches in sorted({int(count) for entries in forms.values() for count in entries}):
        entries = {name: entry[str(patches)] for name, entry in forms.items()}
        agreeing = ranked(entries)
        if agreeing:
            name, entry = agreeing[0]
            words = f'{patches} patches: {name}, {1e6 * entry["seconds"]:.0f} µs, '
            words += f'{entry["workspace_bytes"] / 1e6:.0f} MB; {_kernel(entry)}'
            yield Verdict('encoder layer', OK, words)
        yield from _failed(f'encoder layer, {patches} patches', entries)


def _failed(topic: str, forms: Mapping[str, Entry]) -> Iterator[Verdict]:
    for name, entry in forms.items():
        if 'why' in entry:
            yield Verdict(topic, NOTE, f'{name} was not built: {entry["why"]}')
        elif 'difference' in entry and not agrees(entry):
            yield Verdict(topic, FAULT, f'{name} differs from the plainest form', 'Do not use it')


def _kernel(entry: Entry) -> str:
    if not entry.get('layer_count'):
        return 'this TensorRT does not name its kernels'
    kernels = entry.get('attention')
    return f'attention is one kernel ({kernels[0][:40]})' if kernels else 'attention is not fused'


def _top_token(facts: Facts) -> Iterator[Verdict]:
    if 'seconds' not in facts:
        return
    words = f'{1e6 * facts["seconds"]:.0f} µs for {facts["vocabulary"]} logits'
    state = OK if facts['is_right'] else FAULT
    yield Verdict('token choice', state, words if facts['is_right'] else f'wrong: {words}')
