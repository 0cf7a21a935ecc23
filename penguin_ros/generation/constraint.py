# SPDX-License-Identifier: Apache-2.0
"""What restricts the tokens of a text: a grammar, and how far one text has come in it.

The sampler asks which tokens may come next and chooses among them by their logits. Where the
grammar leaves no choice of bytes, their tokens are taken without asking the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Constraint(Protocol):
    """The state of one text in a grammar. Every method may raise a RequestError when the grammar
    cannot be followed any further.
    """

    def forced(self) -> Sequence[int]:
        """Returns the tokens that come next whatever the model says, the stop token after the last
        one of a text that can only end; often none.
        """

    def allowed(self) -> NDArray[np.intp]:
        """Returns the ids of the tokens that may come next, ascending, stop tokens among them where
        the text may end; at least one.
        """

    def accept(self, token_id: int) -> None:
        """Goes on with a token that was forced or allowed."""

    def valid_length(self, draft: Sequence[int]) -> int:
        """Returns how many tokens of a draft may come, one after the other."""


class Grammar(Protocol):
    """What texts may look like; it has no state."""

    def begin(self) -> Constraint:
        """Returns the state of an empty text."""
