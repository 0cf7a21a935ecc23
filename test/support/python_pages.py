# SPDX-License-Identifier: Apache-2.0
"""Runs the code of a notebook, or of a page of the documentation, as its readers would."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any


def notebook_code(path: Path) -> list[str]:
    """Returns the code cells of a notebook, which is valid and has no output that was kept."""
    import nbformat

    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == 'code']
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    return [cell.source for cell in cells]


def page_code(path: Path) -> list[str]:
    """Returns the blocks of Python of a page."""
    return re.findall(r'^```python\n(.*?)^```', path.read_text(), re.DOTALL | re.MULTILINE)


def run_all(blocks: list[str], names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Runs the blocks in one name space, which is returned; `await` may stand outside functions."""
    names = {'__name__': 'page', **(names or {})}
    for block in blocks:
        code = compile(block, 'page', 'exec', flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        made = eval(code, names)
        if inspect.iscoroutine(made):
            asyncio.run(made)
    return names
