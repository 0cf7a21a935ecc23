# SPDX-License-Identifier: Apache-2.0
"""What the facts of a board mean, in words: the steps that failed, and what the first three steps
say of the board, of CUDA and of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from penguin_ros.backends.cuda.versions import (
    Fit,
    bindings_command,
    fit_of,
    refusal,
    text,
)
from penguin_ros.board.result import FAILED, FAULT, NOTE, OK, Facts, Results, Verdict, facts_of
from penguin_ros.errors import BackendUnavailable
from penguin_ros.jetson import Jetson

SMALL_BOARD_BYTES = 9_000_000_000
LEAST_CMA_BYTES = 400_000_000
TIGHT_RELEASE = '36.4.7'
"""The Jetson Linux whose memory allocator refuses blocks that are free; 36.5 is better."""

NO_DESKTOP = 'sudo systemctl isolate multi-user.target'


def require_gpu(results: Results) -> None:
    """Raises BackendUnavailable where there is neither a driver of CUDA nor TensorRT, so that
    nothing could be measured.
    """
    facts = facts_of(results, 'identity')
    tensorrt = facts.get('tensorrt', {})
    if not facts or facts['cuda']['driver'] or tensorrt.get('name'):
        return
    raise BackendUnavailable(
        'nothing can be measured here',
        f'there is no CUDA driver (libcuda.so.1 is not found), and {tensorrt.get("why", "")}',
        'Run it on a Jetson, or on a machine with an NVIDIA card. ' + tensorrt.get('fix', ''),
    )


def board_verdicts(results: Results) -> list[Verdict]:
    """Returns what failed, and what the first three steps mean."""
    found = [
        Verdict(name, FAULT, result.why, result.fix)
        for name, result in results.items()
        if result.state == FAILED
    ]
    if identity := facts_of(results, 'identity'):
        found += [*_board(identity), *_versions(identity), *_power(identity), *_small(identity)]
    if memory := facts_of(results, 'memory'):
        found += _memory(memory)
    return found


def _board(facts: Facts) -> Iterator[Verdict]:
    gpu, memory = facts.get('gpu', {}), facts.get('memory', {})
    words = [facts.get('model') or facts.get('machine', '')]
    if facts.get('l4t'):
        words.append(f'Jetson Linux {facts["l4t"]} (JetPack {facts.get("jetpack")})')
    if gpu.get('name'):
        words.append(f'{gpu["name"]}, compute capability {gpu["compute"]}')
    words.append(f'{memory.get("total", 0) / 1e9:.1f} GB of memory')
    if mode := facts.get('power_mode', {}).get('name'):
        words.append(f'power mode {mode}')
    yield Verdict('board', OK, ', '.join(words))
    if facts.get('cuda', {}).get('is_stand_in'):
        yield Verdict(
            'stand-in', NOTE, 'there is no GPU: no time and no choice here means anything'
        )


def _versions(facts: Facts) -> Iterator[Verdict]:
    """Compares driver and runtime of CUDA, and names TensorRT."""
    cuda, tensorrt = facts.get('cuda', {}), facts.get('tensorrt', {})
    driver, runtime = cuda.get('driver', 0), cuda.get('runtime', 0)
    jetson = Jetson((), facts['jetpack'], None) if facts.get('is_jetson') else None
    if not runtime:
        yield Verdict('cuda', FAULT, cuda.get('why', ''), f'Type: {bindings_command(driver)}')
    elif error := refusal(driver, runtime, jetson):
        yield Verdict('cuda', FAULT, error.why, error.fix)
    else:
        words = f'driver of CUDA {text(driver)}, runtime {text(runtime)}'
        is_newer = fit_of(driver, runtime) is Fit.NEWER
        yield Verdict('cuda', NOTE if is_newer else OK, words + ', newer' * is_newer)
    if tensorrt.get('name'):
        yield Verdict('tensorrt', OK, tensorrt['name'])
    else:
        yield Verdict('tensorrt', FAULT, tensorrt.get('why', ''), tensorrt.get('fix', ''))


def _power(facts: Facts) -> Iterator[Verdict]:
    mode, gpu = facts.get('power_mode', {}), facts.get('clocks', {}).get('gpu', {})
    if mode and not mode['is_fastest']:
        yield Verdict(
            'power mode',
            NOTE,
            f'{mode["name"]}: the GPU runs faster in {mode["fastest"]}',
            f'Type: sudo nvpmodel -m {mode["fastest_id"]} && sudo jetson_clocks',
        )
    slowed = [f'{name}: {count}' for name, count in facts.get('throttling', {}).items()]
    if gpu.get('most', 0) < gpu.get('design', 0) and (not mode or mode['is_fastest']):
        slowed.append(f'GPU at {gpu["most"] / 1e6:.0f} of {gpu["design"] / 1e6:.0f} MHz')
    if slowed:
        yield Verdict(
            'throttled',
            FAULT,
            f'the board slows itself down ({", ".join(slowed)}); times mean little',
            'oc: take a stronger power supply or a lower power mode; else cool it; then restart',
        )


def _small(facts: Facts) -> Iterator[Verdict]:
    """What matters where memory is short."""
    memory = facts.get('memory', {})
    if not facts.get('is_jetson') or memory.get('total', 0) > SMALL_BOARD_BYTES:
        return
    if facts.get('l4t') == TIGHT_RELEASE:
        yield Verdict(
            'jetson linux',
            NOTE,
            f'{TIGHT_RELEASE} refuses large blocks of memory that are free',
            'Upgrade to JetPack 6.2.2 (Jetson Linux 36.5)',
        )
    if memory.get('cma_total', 0) and memory['cma_total'] < LEAST_CMA_BYTES:
        yield Verdict(
            'cma',
            NOTE,
            f'{memory["cma_total"] / 1e6:.0f} MB of contiguous memory, short while building',
            'Add cma=950M to the line APPEND of extlinux.conf and restart',
        )
    if facts.get('has_desktop'):
        yield Verdict('desktop', NOTE, 'it takes memory of the model', f'Type: {NO_DESKTOP}')


def _memory(facts: Facts) -> Iterator[Verdict]:
    if 'copy_bytes_per_s' in facts:
        rate, out = facts['copy_bytes_per_s'] / 1e9, facts['to_host_bytes_per_s'] / 1e9
        yield Verdict('bandwidth', OK, f'copies {rate:.1f} GB/s, to the host {out:.1f} GB/s')
    if 'ceiling_after_drop_bytes' not in facts:
        return
    first, cached, dropped = (
        facts[name]
        for name in (
            'ceiling_bytes',
            'ceiling_with_page_cache_bytes',
            'ceiling_after_drop_bytes',
        )
    )
    least = first - facts['file_bytes'] // 2
    words = f'largest block {_megabytes(first)}, beside {_megabytes(facts["file_bytes"])} of page '
    words += f'cache {_megabytes(cached)}, after dropping it {_megabytes(dropped)}'
    if cached >= least:
        yield Verdict('page cache', OK, f'gives way: {words}')
    elif dropped >= least:
        yield Verdict('page cache', NOTE, f'gives way only when it is dropped: {words}')
    else:
        yield Verdict(
            'page cache',
            FAULT,
            f'does not give way, even when it is dropped: {words}',
            'Type: echo 1 | sudo tee /proc/sys/vm/drop_caches before starting; with Jetson Linux '
            '36.4.7 upgrade to 36.5',
        )


def _megabytes(count: int) -> str:
    return f'{count / 1e6:.0f} MB'
