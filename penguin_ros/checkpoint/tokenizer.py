# SPDX-License-Identifier: Apache-2.0
"""Text to token ids and back. Plain text never becomes markup: chat markup is looked up by name only.

Knows the tokenizers library; does not know how a prompt is put together.
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penguin_ros.checkpoint.tokenizer_file import added_token_ids, read_tokenizer, without_added_tokens
from penguin_ros.errors import CheckpointConfigError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class PenguinTokenizer:
    """The tokenizer of the checkpoint in `folder`.

    Raises CheckpointNotFound when the folder holds none, CheckpointConfigError when it is unusable.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        description = read_tokenizer(self.folder)
        self._markup = added_token_ids(self.folder)
        self._plain = _library_tokenizer(self.folder, without_added_tokens(description, self._markup))
        self._bytes = _token_bytes(self.folder, description['model']['vocab'], frozenset(self._markup.values()))

    def encode_text(self, text: str) -> list[int]:
        """Token ids of plain text: whatever it holds, none is an added token. Lone surrogates become U+FFFD."""
        return list(self._plain.encode(_valid(text), add_special_tokens=False).ids)

    def markup_id(self, token: str) -> int:
        """Id of an added token such as `<|im_start|>`; CheckpointConfigError when the checkpoint has none of that name."""
        if token not in self._markup:
            raise CheckpointConfigError(f'the tokenizer of {self.folder} has no {token}', 'Penguin-VL\'s prompt needs it',
                                        'Check that tokenizer.json and tokenizer_config.json belong to this checkpoint')
        return self._markup[token]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; markup and unknown ids are skipped, broken characters become U+FFFD."""
        return b''.join(map(self.token_bytes, ids)).decode('utf-8', 'replace')

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for, often a part of a character; empty for markup and ids without a token."""
        return self._bytes.get(token_id, b'')


def _library_tokenizer(folder: Path, description: Mapping[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer
    try:
        return Tokenizer.from_str(json.dumps(description))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointConfigError(f'the tokenizer of {folder} is unusable', str(error),
                                    'Download the checkpoint again') from error


def _token_bytes(folder: Path, vocabulary: Mapping[str, Any], markup: frozenset[int]) -> dict[int, bytes]:
    """Undoes the byte-level alphabet: each character of a token stands for one byte."""
    alphabet = {character: bytes([byte]) for byte, character in enumerate(byte_alphabet())}
    absent = sorted(character for character in alphabet if vocabulary.get(character) in {None, *markup})
    if absent:  # text with that byte would lose it
        raise CheckpointConfigError(f'the tokenizer of {folder} is not byte-level', f'it has no token for {absent[0]!r}')
    try:
        return {number: b''.join(alphabet[character] for character in token)
                for token, number in vocabulary.items() if number not in markup}
    except (KeyError, TypeError) as error:
        raise CheckpointConfigError(f'the tokenizer of {folder} is not byte-level', f'{error} stands for no byte') from error


def byte_alphabet() -> list[str]:
    """The character that stands for each byte: itself where it can be printed, else the next from U+0100 on."""
    printable = {*range(ord('!'), ord('~') + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    substitutes = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(substitutes)) for byte in range(256)]


def _valid(text: str) -> str:
    """Text without lone surrogates, which UTF-8 cannot hold; pairs are joined."""
    return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
