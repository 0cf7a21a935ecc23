# SPDX-License-Identifier: Apache-2.0
"""The penguin node with a scripted model that says yes to the conditions which the file named by
HOLDING lists, one per line, and no to all others; a question with ENDLESS in it is answered slowly
and without an end. Run as a module.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from penguin_ros.config import ModelConfig
from penguin_ros.ros.node.main import main
from penguin_ros.testing.scripted_backend import ScriptedBackend, ScriptedModel

VARIABLE = 'HOLDING'
ENDLESS = 'without an end'
STEP_S = 0.01


def says(question: str, holding: list[str], tokenizer: Any, ids: tuple[int, ...]) -> int | None:
    """Returns the next token of yes or no, whose first tokens may stand at the end of `ids`; None
    when the word is over.
    """
    word = tokenizer.encode_text('yes' if any(each in question for each in holding) else 'no')
    told = next(n for n in range(len(word), -1, -1) if list(ids[len(ids) - n :]) == word[:n])
    return int(word[told]) if told < len(word) else None


def make_backend(config: ModelConfig, model: Any) -> ScriptedBackend:
    """Makes the model that reads the file each time that it is asked."""
    path = Path(os.environ[VARIABLE])

    def script(ids: tuple[int, ...]) -> int | None:
        question = model.tokenizer.decode(list(ids)).rpartition('user')[2]
        if ENDLESS in question:
            time.sleep(STEP_S)
            return int(model.tokenizer.encode_text('yes')[0])
        token = says(question, path.read_text().split('\n')[:-1], model.tokenizer, ids)
        return int(model.shape.stop_token_ids[0]) if token is None else token

    return ScriptedBackend(config, ScriptedModel.of(model), script=script)


if __name__ == '__main__':
    sys.exit(main(backend_factory=make_backend))
