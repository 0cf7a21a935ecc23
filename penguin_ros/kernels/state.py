# SPDX-License-Identifier: Apache-2.0
"""What a pass is about, as numbers in device memory that its kernels read: so one recorded pass
serves all positions and lengths. A `state` is ENTRIES int64; the others are 0.
"""

POSITION = 0
"""Positions that the slot holds before the pass; its first row is written behind them."""

ROWS = 1
"""Rows of the pass that count."""

OFFSET = 2
"""Where the slot begins, in numbers of the cache's format from the address that kernels get as
`cache`: a multiple of 16.
"""

STEP = 3
"""Tokens chosen so far by passes that go on by themselves: the place of the next among them."""

LENGTH = 4
"""Patches of the frame, all of which a row of it sees."""

ENTRIES = 8
"""Numbers of a state."""
