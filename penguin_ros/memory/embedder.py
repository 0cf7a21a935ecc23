# SPDX-License-Identifier: Apache-2.0
"""Texts as vectors, so that they are found by what they mean.

The one embedder here averages a static table of vectors of tokens. The table and its tokenizer come
as files of the package wordllama, of which no code is used. It is optional: without it, words, time
and place still find entries.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import LibraryUnusable
from penguin_ros.libraries import libraries_needed

Vectors = NDArray[np.float32]
"""(texts, dimensions), each row of length 1, or 0 where a text says nothing."""

PACKAGE = 'wordllama'
TABLE = 'weights/l2_supercat_256.safetensors'
TOKENIZER = 'tokenizers/l2_supercat_tokenizer_config.json'
TENSOR = 'embedding.weight'
ROWS_OF_DIGEST = 64
MAX_CHARACTERS = 4000
"""What of a text is embedded."""


class Embedder(Protocol):
    """Makes vectors of texts; `id` names what made them, since others are not comparable."""

    id: str
    dimensions: int

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Returns the vectors of the texts."""


class StaticEmbedder:
    """The mean of a text's token vectors, from a table that stays in its file; about 0.1 ms a
    caption. The order of words does not count.
    """

    def __init__(self, table: Path, tokenizer: Path) -> None:
        from tokenizers import Tokenizer

        self._table = _float16_table(table)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.dimensions = self._table.shape[1]
        some = self._table[:: max(1, len(self._table) // ROWS_OF_DIGEST)]
        digest = hashlib.sha256(some.tobytes()).hexdigest()[:12]
        self.id = f'{table.stem}-{digest}'

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Returns the vectors of the texts; see Vectors."""
        shortened = [text[:MAX_CHARACTERS] for text in texts]
        encodings = self._tokenizer.encode_batch(shortened, add_special_tokens=False)
        tokens = [np.array(each.ids, np.intp) for each in encodings]
        owners = np.repeat(np.arange(len(texts)), [len(each) for each in tokens])
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        if len(owners):
            starts = np.flatnonzero(np.diff(owners, prepend=-1))
            every = self._table[np.concatenate(tokens)].astype(np.float32)
            vectors[owners[starts]] = np.add.reduceat(every, starts, axis=0)
        return unit(vectors)


def unit(vectors: Vectors) -> Vectors:
    """Returns vectors with length 1; those of length 0 stay."""
    lengths = np.sqrt(np.einsum('ij,ij->i', vectors, vectors))
    lengths[lengths == 0] = 1
    divided: Vectors = vectors / lengths[:, None]
    return divided


def included_embedder() -> StaticEmbedder:
    """Returns the embedder whose files come with the package wordllama. LibraryUnusable when it is
    not installed, or holds other files.
    """
    found = importlib.util.find_spec(PACKAGE)
    folder = Path(found.origin).parent if found and found.origin else None
    paths = [folder / name for name in (TABLE, TOKENIZER)] if folder else []
    if not paths or not all(path.is_file() for path in paths):
        raise LibraryUnusable(
            'entries cannot be found by meaning',
            f'{PACKAGE}, whose files tell what words mean, is not installed'
            if folder is None
            else f'{folder} lacks the files that are read',
            "Type: pip install 'penguin_ros[meaning]'; words, time and place work without",
        )
    with libraries_needed():
        return StaticEmbedder(*paths)


def _float16_table(path: Path) -> NDArray[np.float16]:
    """Maps the table of a safetensors file: the length of a header, the header, the values."""
    with path.open('rb') as stream:
        length = int.from_bytes(stream.read(8), 'little')
        header = json.loads(stream.read(length))
    tensor = header[TENSOR]
    if tensor['dtype'] != 'F16' or len(tensor['shape']) != 2:
        raise LibraryUnusable(f'{path} cannot be used', f'{TENSOR} is no table of 16-bit floats')
    return np.memmap(
        path, np.float16, 'r', 8 + length + tensor['data_offsets'][0], tuple(tensor['shape'])
    )
