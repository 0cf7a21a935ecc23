# SPDX-License-Identifier: Apache-2.0
"""The tables of `penguin bench live` on a terminal, made of the records of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from penguin_ros.benchmark.live.ratios import Ratio
from penguin_ros.benchmark.live.tasks import JsonObject
from penguin_ros.benchmark.tasks import TargetError
from penguin_ros.evaluation.agreement import Agreement, in_words

if TYPE_CHECKING:
    from rich.console import Console

PHASES = (
    ('encode', 'encode_s'),
    ('prefill', 'prefill_s'),
    ('first', 'first_token_s'),
    ('decode', 'decode_s'),
)
FIRST = PHASES[:3]
AGREED = 'tokens same; logits'


CASE_HEADER = (
    'ms',
    'frames',
    'prompt',
    'reused',
    *(f'recompute:\n{name}' for name, _ in FIRST),
    *(f'reuse:\n{name}' for name, _ in FIRST),
    'ratio',
    AGREED,
)
CAPTION_HEADER = (
    'a caption every second, mean, ms',
    'made',
    *(name for name, _ in PHASES),
    'tokens',
    'passes/tok',
    'drafts right',
    AGREED,
)
INTERRUPT_HEADER = (
    'question during a caption, ms',
    'idle',
    'busy',
    'waited',
    'longest step',
    'tokens same as idle',
)


def print_model(console: Console, title: str, record: JsonObject, ratios: Sequence[Ratio]) -> None:
    """Prints everything about one model."""
    console.print(f'\n{title}', style='bold', markup=False)
    print_error(console, record.get('error'))
    if record.get('cases'):
        _print(console, CASE_HEADER, [_case(case) for case in record['cases']])
    if record.get('captions'):
        _print(console, CAPTION_HEADER, [_caption(each) for each in record['captions']])
    if record.get('interrupt'):
        _print(console, INTERRUPT_HEADER, [_interrupt(each) for each in record['interrupt']])
    if record.get('pass_s'):
        _print_pass_costs(console, record['pass_s'])
    if ratios:
        rows = [_ratio(each) for each in ratios]
        _print(console, ('ratio', 'value', 'wanted', 'of what'), rows)
    _print_memory(console, record)


def print_node(console: Console, node: JsonObject) -> None:
    """Prints what the run over real topics gave."""
    console.print(
        f'\nthe node over real topics, on {node.get("model", "a model")}',
        style='bold',
        markup=False,
    )
    print_error(console, node['error'])
    if not node['error']:
        _print(console, (f'{node["seconds"]:.0f} s', 'value'), list(_node_rows(node)))


def print_error(console: Console, error: JsonObject | None) -> None:
    """Prints what failed, why, and the way out."""
    if error:
        words = f'failed: {TargetError(**error).in_words()}'
        console.print(words, markup=False, style='red', soft_wrap=True)


def _case(case: JsonObject) -> tuple[str, ...]:
    ours = case['reuse']
    recomputed = case['recompute'] or {}
    ratio = f'{ours["first_token_s"] / recomputed["first_token_s"]:.3f}' if recomputed else '–'
    return (
        case['name'],
        f'{ours["frames"]:.0f}',
        f'{ours["prompt_tokens"]:.0f}',
        f'{ours["reused_tokens"]:.0f}',
        *(_ms(recomputed.get(key)) for _, key in FIRST),
        *(_ms(ours[key]) for _, key in FIRST),
        ratio,
        _agreed(case['agreement']),
    )


def _caption(each: JsonObject) -> tuple[str, ...]:
    drafts = f'{each["accepted"]:.1f} of {each["drafted"]:.1f}' if each.get('drafted') else '–'
    return (
        f'{each["scene"]} scene, {each["course"]}',
        f'{each["made"]} of {each["seconds"]}',
        *(_ms(each.get(key)) for _, key in PHASES),
        f'{each.get("tokens", 0):.1f}',
        _passes(each),
        drafts,
        _agreed(each['agreement']),
    )


def _interrupt(each: JsonObject) -> tuple[str, ...]:
    times = (_ms(each[key]) for key in ('idle_s', 'busy_s', 'wait_s', 'step_s'))
    return each['name'], *times, _same(each['same'])


def _ratio(each: Ratio) -> tuple[str, ...]:
    return (
        each.name,
        f'{each.value:.1f} {each.unit}' if each.unit else f'{each.value:.3f}',
        f'≤ {each.wanted:g} {each.unit}'.rstrip()
        + ('' if each.value <= each.wanted else ' missed'),
        each.how,
    )


def _node_rows(node: JsonObject) -> Iterator[tuple[str, str]]:
    yield (
        'captions',
        f'{node["captions"]}, {node["captions_hz"]:.2f} Hz, {node["caption_errors"]} with an error',
    )
    yield (
        'captions replaced, dropped, unchanged',
        (f'{node["captions_replaced"]}, {node["captions_dropped"]}, {node["captions_unchanged"]}'),
    )
    yield 'questions answered', f'{node["answered"]} of {node["questions"]}'
    for name, key in (
        ('first token, seen by the client', 'first_token'),
        ('first token, in the node', 'first_token_in_node'),
    ):
        shown = (
            ', '.join(f'{part} {_ms(node[key][part])}' for part in ('p50', 'p95', 'max'))
            if node[key]
            else '–'
        )
        yield f'{name} [ms]', shown
    yield 'CPU of the node', f'{node["cpu_percent"]:.0f} % of a core'
    yield (
        'memory (RSS) first and last quarter, highest',
        ', '.join(
            f'{node[key] / 1e6:.1f} MB'
            for key in ('resident_start', 'resident_end', 'resident_highest')
        ),
    )
    yield (
        'camera',
        f'{node["film"]}; {node["camera_hz"]:.1f} frames/s taken'
        if node['camera_hz'] is not None
        else node['film'],
    )


def _print_pass_costs(console: Console, costs: JsonObject) -> None:
    rows = [
        ('ms', *map(_ms, costs.values())),
        ('of one', *(f'{each / costs["1"]:.2f}' for each in costs.values())),
    ]
    _print(console, ('pass over N positions', *costs), rows)


def _print_memory(console: Console, record: JsonObject) -> None:
    held = record.get('memory')
    if held:
        console.print(
            f'kept at most: {held["features"]} frames of features, '
            f'{held["feature_bytes"] / 1e6:.1f} MB; {held["kv_slots"]} KV slots, '
            f'{held["kv_positions"]} positions, {held["kv_bytes"] / 1e6:.1f} MB '
            f'(a slot: {held["slot_bytes"] / 1e6:.1f} MB). '
            f'Rounds: {record["rounds"]}.{_rounding(record)}',
            markup=False,
            soft_wrap=True,
        )


def _same(found: JsonObject | None) -> str:
    if found is None:
        return 'not asked in time'
    then = '' if found['margin'] is None else f', then margin {found["margin"]:.1e}'
    return f'{found["tokens"]} of {found["of"]}{then}'


def _rounding(record: JsonObject) -> str:
    found = record['rounding']
    if found is None:
        return ''
    how = 'recomputed in chunks of another size'
    return f' Rounding of this model, {how}: logits ±{found:.1e}.'


def _passes(caption: JsonObject) -> str:
    return f'{caption["passes"] / caption["tokens"]:.2f}' if caption.get('tokens') else '–'


def _agreed(found: JsonObject | None) -> str:
    return in_words(Agreement(**found) if found is not None else None)


def _ms(seconds: float | None) -> str:
    """Milliseconds in at least three figures."""
    if seconds is None:
        return '–'
    value = 1e3 * seconds
    return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'


def _print(console: Console, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(
            escape(name),
            justify='right' if 0 < index < len(header) - 1 else 'left',
            no_wrap=not index,
            overflow='fold',
        )
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)
    console.print()
