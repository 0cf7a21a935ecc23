# SPDX-License-Identifier: Apache-2.0
"""Whether engines decode, or kernels of this project do: what a bundle has, and what the settings
say. Neither TensorRT nor CUDA is needed here.
"""

from __future__ import annotations

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import NETWORK
from penguin_ros.errors import BundleOutdated

BY_ENGINES, BY_KERNELS, BOTH = 'engines', 'kernels', 'both'
"""What a bundle for TensorRT is built to decode with."""


def has_kernels(bundle: Bundle) -> bool:
    """Returns whether a bundle for TensorRT has kernels for decoding."""
    return NETWORK in bundle.manifest.files


def decodes_in_kernels(bundle: Bundle, asked: str, has_steps: bool) -> bool:
    """Returns whether kernels decode: as `asked` (auto, engines or kernels); with auto where the
    engines have no profile for it. `has_steps`: they have one. BundleOutdated where the bundle
    lacks what is asked for.
    """
    build = f'penguin build {bundle.path} --backend tensorrt --decode'
    if asked == BY_KERNELS and not has_kernels(bundle):
        raise BundleOutdated(
            f'{bundle.path} has no kernels to decode with',
            'it was built for decoding by its engines',
            f'Build the checkpoint again with --backend tensorrt --decode {BOTH}, or leave '
            'model.decode at auto',
        )
    if asked == BY_ENGINES and not has_steps:
        raise BundleOutdated(
            f'the engines of {bundle.path} do not decode',
            'they were built beside kernels that do',
            f'Type: {build} {BY_ENGINES}; or leave model.decode at auto',
        )
    return asked == BY_KERNELS or not has_steps
