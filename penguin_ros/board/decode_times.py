# SPDX-License-Identifier: Apache-2.0
"""What writes text faster on a board, engines or own kernels, from what was measured of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penguin_ros.backends.tensorrt.decode_choice import BY_ENGINES, BY_KERNELS


def faster(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Returns what writes text faster, engines or kernels, and why; '' where not both were
    measured.
    """
    times = {
        way: {
            position: entry['seconds']
            for position, entry in facts.get(way, {}).get('decode', {}).items()
            if 'seconds' in entry
        }
        for way in (BY_ENGINES, BY_KERNELS)
    }
    both = sorted(set(times[BY_ENGINES]) & set(times[BY_KERNELS]), key=int)
    if not both:
        return '', ''
    sums = {way: sum(found[position] for position in both) for way, found in times.items()}
    best = min(sums, key=lambda way: sums[way])
    shown = ', '.join(
        f'{way} {1e3 * found[both[-1]]:.1f} ms a token at {both[-1]}'
        for way, found in times.items()
    )
    return best, f'decoding by {best}: {shown}'
