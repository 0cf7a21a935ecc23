# SPDX-License-Identifier: Apache-2.0
"""All kernels of a network, and the digest by which a bundle tells whether its are the same."""

from __future__ import annotations

from penguin_ros.kernels.network import Network
from penguin_ros.kernels.one_row_set import one_row_kernels
from penguin_ros.kernels.rows_set import encoder_kernels, few_rows_kernels, many_rows_kernels
from penguin_ros.kernels.table import Kernel


def all_kernels(network: Network) -> list[Kernel]:
    """Returns the kernels of all passes, by unique names."""
    return [
        *one_row_kernels(network),
        *few_rows_kernels(network),
        *many_rows_kernels(network),
        *encoder_kernels(network),
    ]
