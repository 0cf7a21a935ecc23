# SPDX-License-Identifier: Apache-2.0
"""Kernels of a bundle on disk, without a compiler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penguin_ros.export.cuda.kernel_files import write_kernels
from penguin_ros.kernels.table import Compiled


def written_set(bundle: Path, images: Sequence[Compiled], has_code: bool = True) -> None:
    """Writes the folder of kernels into a bundle."""
    kernels = {image.kernel.name: image.kernel for image in images}
    write_kernels(bundle, list(kernels.values()), images, has_code=has_code)
