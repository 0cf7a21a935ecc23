# SPDX-License-Identifier: Apache-2.0
"""docs/kernels.md is about the kernels as they are."""

from __future__ import annotations

import pytest
import write_kernel_table
from support.kernel_runs import needs_triton


def test_the_tables_of_the_page_belong_to_these_sources() -> None:
    assert write_kernel_table.is_current(), 'type: python tools/write_kernel_table.py'


@needs_triton
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiling_again_gives_the_same_table() -> None:
    assert write_kernel_table.code_table() in write_kernel_table.PAGE.read_text(encoding='utf-8')
