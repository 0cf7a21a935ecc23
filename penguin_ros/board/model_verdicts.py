# SPDX-License-Identifier: Apache-2.0
"""What the steps with a bundle mean, in words: building, loading, numbers, speed."""

from __future__ import annotations

from collections.abc import Iterator

from penguin_ros.board.decode_times import SIDES, faster, same_tokens, sooner
from penguin_ros.board.result import FAULT, NOTE, OK, Facts, Results, Verdict, facts_of

LEAST_FEATURE_COSINE = 0.999
LEAST_LOGIT_COSINE = {'int4': 0.99, 'int8': 0.99}
USUAL_LOGIT_COSINE = 0.995
LEAST_SAME_TOKENS = 0.95
MOST_DIFFERENCE = 0.02
SLOW_SHARE = 0.35
"""Tokens that come slower than this share of what the memory allows are worth a note."""


def model_verdicts(results: Results) -> list[Verdict]:
    """Returns what was found of the bundle; nothing of what was not run."""
    return [
        *_built(facts_of(results, 'build')),
        *_loaded(facts_of(results, 'load')),
        *_numbers(facts_of(results, 'numbers')),
        *_speed(results),
        *_kernels(facts_of(results, 'kernels')),
        *_sides(results),
        *_soak(facts_of(results, 'soak')),
    ]


def _built(facts: Facts) -> Iterator[Verdict]:
    memory = facts.get('memory', {})
    if engines := facts.get('engines'):
        forms = ', '.join(
            f'{part} {engine["variant"]}' + ' decomposable' * engine['is_decomposable']
            for part, engine in sorted(engines.items())
        )
        how = 'kept' if facts['is_kept'] else f'built in {facts["seconds"] / 60:.1f} min'
        left = memory['available_least'] / 1e9
        yield Verdict('engines', OK, f'{forms}; {how}, {left:.1f} GB were left at the least')
        for part, engine in sorted(engines.items()):
            for failure in engine['failures']:
                yield Verdict(f'engine of the {part}', NOTE, f'in vain: {failure}')


def _loaded(facts: Facts) -> Iterator[Verdict]:
    if 'taken_bytes' not in facts:
        return
    graphs = facts['graphs']
    words = f'{facts["seconds"]} s, {facts["taken_bytes"] / 1e9:.2f} GB taken, '
    words += f'{facts["slots"]} slots of {facts["slot_bytes"] / 1e6:.0f} MB'
    if graphs['slowdown']:
        yield Verdict('loading', NOTE, f'{words}; {graphs["slowdown"]}')
    else:
        yield Verdict('loading', OK, words)


def _numbers(facts: Facts) -> Iterator[Verdict]:
    if overflow := facts.get('overflow'):
        yield Verdict(
            'overflow',
            FAULT,
            f'{facts["compute"]} overflows in {overflow}',
            'Build again with --compute bfloat16, or rescaled: see --measure-range',
        )
        return
    for name, what in (('chunk_difference', 'chunks'), ('slot_difference', 'slots')):
        if facts.get(name, 0.0) > MOST_DIFFERENCE:
            words = f'logits differ between {what} by {facts[name]:.2g} of the largest'
            yield Verdict('numbers', FAULT, words, 'Please report this')
    if facts and not facts.get('has_golden'):
        yield Verdict(
            'numbers',
            NOTE,
            'finite; the bundle holds nothing to compare with',
            'Build its graphs with --golden where there is ONNX Runtime',
        )
    elif 'logit_cosine' in facts:
        yield _agreement(facts)


def _agreement(facts: Facts) -> Verdict:
    least = LEAST_LOGIT_COSINE.get(facts['linears'], USUAL_LOGIT_COSINE)
    words = f'cosine of features {facts["feature_cosine"]:.5f}, of logits '
    words += f'{facts["logit_cosine"]:.5f}, same token in {facts["same_token"]:.0%} of '
    words += f'{facts["compared_steps"]} clear steps'
    is_fine = (
        facts['feature_cosine'] >= LEAST_FEATURE_COSINE
        and facts['logit_cosine'] >= least
        and facts['same_token'] >= LEAST_SAME_TOKENS
    )
    return Verdict('numbers', OK if is_fine else FAULT, words, '' if is_fine else 'Do not use it')


def _speed(results: Results) -> Iterator[Verdict]:
    facts = facts_of(results, 'speed')
    rate = facts_of(results, 'memory').get('copy_bytes_per_s', 0.0)
    decoder = facts_of(results, 'build').get('engines', {}).get('decoder', {})
    for position, entry in facts.get('decode', {}).items():
        if 'seconds' in entry:
            words = f'{1 / entry["seconds"]:.1f} tokens/s, the first step '
            words += f'{1e3 * entry["first_seconds"]:.0f} ms'
            share = decoder.get('weight_bytes', 0) / (entry['seconds'] * rate) if rate else 1.0
            state = OK if share >= SLOW_SHARE else NOTE
            words += f', {share:.0%} of what the memory allows' if rate else ''
            yield Verdict(f'decoding at {position}', state, words)
    for name, what in (('encode', 'patches'), ('prefill', 'tokens')):
        timed = {size: each for size, each in facts.get(name, {}).items() if 'seconds' in each}
        if timed:
            shown = ', '.join(
                f'{size} {what} {1e3 * each["seconds"]:.0f} ms' for size, each in timed.items()
            )
            yield Verdict(name, OK, shown)


def _kernels(facts: Facts) -> Iterator[Verdict]:
    best, why = faster(facts)
    if best:
        yield Verdict('decoding by', OK, why.partition(': ')[2] + f'; {best} are faster')
    elif 'left_out' in facts:
        yield Verdict('decoding by', NOTE, facts['left_out'])


def _sides(results: Results) -> Iterator[Verdict]:
    """What two whole backends take, and which is to run."""
    for name in SIDES:
        facts = facts_of(results, name)
        if 'backend' in facts:
            yield Verdict(f'backend {facts["backend"]}', OK, _side(facts))
    best, why = sooner(results)
    if not best:
        return
    yield Verdict('backend', OK, f'{why.partition(": ")[2]}; run the bundle for {best}')
    share, count = same_tokens(results)
    if share < LEAST_SAME_TOKENS:
        words = f'the two backends choose the same token in {share:.0%} of {count} clear steps'
        yield Verdict('backend', NOTE, words, 'Compare both with --golden, or penguin bench engine')


def _side(facts: Facts) -> str:
    first = facts.get('first_token', {})
    words = [f'open in {facts["opening"]:.1f} s']
    words.append(
        f'first token of {first["tokens"]} {1e3 * first["seconds"]:.0f} ms'
        if 'seconds' in first
        else f'no first token: {first.get("why", "it ended before")}'
    )
    for position, entry in facts.get('decode', {}).items():
        if 'seconds' in entry:
            words.append(f'{1 / entry["seconds"]:.1f} tokens/s at {position}')
    if 'taken_bytes' in facts:
        words.append(f'{facts["taken_bytes"] / 1e9:.2f} GB taken')
    return ', '.join(words)


def _soak(facts: Facts) -> Iterator[Verdict]:
    if not facts.get('samples'):
        return
    first, last = facts['samples'][0], facts['samples'][-1]
    lost = (first['available_bytes'] - last['available_bytes']) / 1e6
    words = f'{facts["tokens"]} tokens, p50 {1e3 * facts["p50_seconds"]:.1f} ms, p99 '
    words += f'{1e3 * facts["p99_seconds"]:.1f} ms, {last["warmest"]:.0f} °C, '
    words += f'{last["watts"]:.1f} W, {lost:.0f} MB less available than at first'
    if facts['throttled']:
        slowed = ', '.join(f'{name}: {count}' for name, count in facts['throttled'].items())
        yield Verdict('soak', FAULT, f'{words}; the board slowed itself down ({slowed})')
    else:
        yield Verdict('soak', OK, words)
