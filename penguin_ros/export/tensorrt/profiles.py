# SPDX-License-Identifier: Apache-2.0
"""The sizes that engines are built for, by the named dimensions of the graphs.

An engine takes what lies between the smallest and the largest size of one of its profiles, and is
fastest at the optimum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penguin_ros.backends.base.manifest import TensorSpec
from penguin_ros.backends.tensorrt.cache import BUCKET
from penguin_ros.backends.tensorrt.engine_manifest import Range

Profile = Mapping[str, Range]
Shape = tuple[int, ...]

SHARED_DECODE_TOKENS = 8
"""The most tokens of the decoding profile where it has a range: then decoding and prefill share one
copy of float weights; fixed at one token they had two (TensorRT for RTX).
"""

MAX_WANTED = 16
USUAL_TOKENS, USUAL_LENGTH, USUAL_PATCHES = 256, 1024, 1024
MERGED = (1, 4, 16)
"""Patches that become one token: 1 for images, 4 for video."""


@dataclass(frozen=True)
class ProfileSizes:
    """`max_tokens` of one prefill run, `max_patches` of a frame."""

    max_tokens: int = 512
    max_patches: int = 4096


def decoder_profiles(
    sizes: ProfileSizes, max_length: int, decode_tokens: int
) -> tuple[Profile, ...]:
    """Returns the profiles for decoding 1 .. `decode_tokens` tokens, and for prefill of more; every
    number of tokens belongs to one of them. One profile where `decode_tokens` is 0.
    """
    least = decode_tokens + 1
    most = max(sizes.max_tokens, least)
    prefill = (least, max(min(USUAL_TOKENS, most), least), most)
    if not decode_tokens:
        return (_decoder_profile(prefill, max_length),)
    return tuple(
        _decoder_profile(num_tokens, max_length) for num_tokens in ((1, 1, decode_tokens), prefill)
    )


def _decoder_profile(num_tokens: Range, max_length: int) -> Profile:
    length = (min(BUCKET, max_length), min(USUAL_LENGTH, max_length), max_length)
    low, best, high = (a + b for a, b in zip(length, num_tokens, strict=True))
    return {
        'rows': num_tokens,
        'length': length,
        'wanted': (1, 1, min(MAX_WANTED, num_tokens[2])),
        'length_and_rows': (low, best, high),
    }


def encoder_profiles(sizes: ProfileSizes) -> tuple[Profile, ...]:
    """Returns the profile for one frame of up to `max_patches`."""
    return (
        {
            'frames': (1, 1, 1),
            'patches': (1, min(USUAL_PATCHES, sizes.max_patches), sizes.max_patches),
            'merged': MERGED,
        },
    )


def input_shapes(tensor: TensorSpec, profile: Profile) -> tuple[Shape, Shape, Shape] | None:
    """Returns the smallest, optimal and largest shape of an input; None when it has only one."""
    if all(isinstance(size, int) for size in tensor.shape):
        return None
    ranges: Sequence[Range] = [
        (size, size, size) if isinstance(size, int) else profile[size] for size in tensor.shape
    ]
    low, best, high = (tuple(sizes[index] for sizes in ranges) for index in range(3))
    return low, best, high
