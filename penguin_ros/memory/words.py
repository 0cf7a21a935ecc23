# SPDX-License-Identifier: Apache-2.0
"""Words as people type them into a search engine, as a query of SQLite's FTS5 that holds nothing
but quoted texts, so that no syntax of theirs reaches it.
"""

from __future__ import annotations

import re

from penguin_ros.errors import InvalidRequest
from penguin_ros.text import cleaned

MAX_TERMS = 32
_TERM = re.compile(r'(-?)(?:"([^"]*)"|([^\s"]+))')


def fts_query(words: str) -> str:
    """Returns the query for: all words, in any order; "words in quotes" next to each other; none
    with a - before it. InvalidRequest when nothing is left that could be found.
    """
    wanted: list[str] = []
    unwanted: list[str] = []
    for minus, phrase, word in _TERM.findall(cleaned(words).replace('\t', ' ')):
        text = phrase or word
        if not any(character.isalnum() for character in text):
            continue
        (unwanted if minus else wanted).append('"' + text.replace('"', '""') + '"')
    if not wanted:
        raise InvalidRequest(
            f'words: {words!r}',
            'they name nothing to look for, or only what must not be there',
            'Give at least one word without a - before it',
        )
    if len(wanted) + len(unwanted) > MAX_TERMS:
        raise InvalidRequest(
            f'{len(wanted) + len(unwanted)} words', f'a search takes at most {MAX_TERMS}'
        )
    query = ' AND '.join(wanted)
    return f'({query}) NOT ({" OR ".join(unwanted)})' if unwanted else query
