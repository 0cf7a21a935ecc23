# SPDX-License-Identifier: Apache-2.0
"""Text to token ids and back, with whichever tokenizer files a checkpoint has.

Plain text never becomes markup: chat markup is looked up by name only. How a prompt is put together
is the business of the preprocessing. The first part of the file turns the published files into one
description in the format of the tokenizers library; PenguinTokenizer, at the end, is what others
use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penguin_ros.checkpoint.json_file import JsonFile, is_file, read_bytes, read_json
from penguin_ros.errors import CheckpointConfigError, CheckpointNotFound
from penguin_ros.installation import install_command

if TYPE_CHECKING:
    from tokenizers import Tokenizer


PUBLISHED = 'tokenizer.json'
VOCABULARY = 'vocab.json'
MERGES = 'merges.txt'
SETTINGS = 'tokenizer_config.json'
ADDED = 'added_tokens.json'
OTHER_TOKENIZERS = ('tokenizer.model', 'tekken.json', 'spiece.model', 'sentencepiece.bpe.model')
NEWER_SIGNS = ('did not match any variant', 'unknown variant', 'unknown field')
"""What the library says of a part that it does not know."""

QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r'\s*[\r\n]+|\s+(?!\S)|\s+'
)
"""How Qwen2 cuts text before merging bytes. It is part of that tokenizer's definition and absent
from vocab.json and merges.txt.
"""


def check_tokenizer_files(folder: Path) -> None:
    """Raises CheckpointNotFound when the folder holds no tokenizer."""
    if not is_file(folder / PUBLISHED) and not all(
        is_file(folder / name) for name in (VOCABULARY, MERGES)
    ):
        other = [name for name in OTHER_TOKENIZERS if is_file(folder / name)]
        if other:
            raise CheckpointNotFound(
                f'{folder} has a tokenizer of another kind',
                f'{other[0]} is there, {PUBLISHED} is not',
                f'Type: hf download OWNER/NAME {PUBLISHED} --local-dir {folder}',
            )
        raise CheckpointNotFound(
            f'{folder} holds no tokenizer',
            f'neither {PUBLISHED} nor {VOCABULARY} with {MERGES} is there',
            'Download the checkpoint again',
        )


def read_tokenizer(folder: Path) -> dict[str, Any]:
    """Returns the description that the tokenizers library takes; it is made from vocab.json and
    merges.txt when tokenizer.json is absent.
    """
    check_tokenizer_files(folder)
    if is_file(folder / PUBLISHED):
        tokenizer = read_json(folder / PUBLISHED)
        model = tokenizer.part('model')
        if model.text('type') != 'BPE':
            raise model.error('type', 'only byte-level BPE is supported')
        vocabulary = _checked_vocabulary(model.part('vocab'))
        return {
            **tokenizer.values,
            'model': {**model.values, 'vocab': vocabulary, 'merges': _merge_pairs(model)},
        }
    return qwen2_tokenizer(
        _checked_vocabulary(read_json(folder / VOCABULARY)), _merges(folder / MERGES)
    )


def _checked_vocabulary(vocabulary: JsonFile) -> dict[str, int]:
    wrong = next(
        (
            token
            for token, number in vocabulary.values.items()
            if type(number) is not int or number < 0
        ),
        None,
    )
    if wrong is not None:
        raise vocabulary.error(wrong, 'takes a token id')
    return dict(vocabulary.values)


def _merge_pairs(model: JsonFile) -> list[list[str]]:
    """Older files join the two tokens of a merge by a space."""
    merges = model.values.get('merges')
    pairs: list[Any] = (
        [merges]
        if not isinstance(merges, list)
        else [merge.split(' ') if isinstance(merge, str) else merge for merge in merges]
    )
    if not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        for pair in pairs
    ):
        raise CheckpointConfigError(f'{model.where}: merges are unusable', 'each takes two tokens')
    return pairs


def qwen2_tokenizer(vocabulary: Mapping[str, int], merges: list[list[str]]) -> dict[str, Any]:
    """Returns the description of a Qwen2 tokenizer with these token ids and merges, without added
    tokens.
    """
    byte_level = {
        'type': 'ByteLevel',
        'add_prefix_space': False,
        'trim_offsets': False,
        'use_regex': False,
    }
    words = {
        'type': 'Split',
        'pattern': {'Regex': QWEN2_WORDS},
        'behavior': 'Isolated',
        'invert': False,
    }
    return {
        'version': '1.0',
        'truncation': None,
        'padding': None,
        'added_tokens': [],
        'normalizer': {'type': 'NFC'},
        'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [words, byte_level]},
        'post_processor': byte_level,
        'decoder': byte_level,
        'model': {
            'type': 'BPE',
            'dropout': None,
            'unk_token': None,
            'continuing_subword_prefix': '',
            'end_of_word_suffix': '',
            'fuse_unk': False,
            'byte_fallback': False,
            'ignore_merges': False,
            'vocab': dict(vocabulary),
            'merges': merges,
        },
    }


def without_added_tokens(tokenizer: Mapping[str, Any], added: Mapping[str, int]) -> dict[str, Any]:
    """Returns the same tokenizer for plain text: it yields no added token, neither as such nor as
    the product of merges.
    """
    model = dict(tokenizer['model'])
    numbers = set(added.values())
    dropped = {*added, *(token for token, number in model['vocab'].items() if number in numbers)}
    model['merges'] = [
        pair for pair in model['merges'] if dropped.isdisjoint((*pair, ''.join(pair)))
    ]
    model['vocab'] = {
        token: number for token, number in model['vocab'].items() if token not in dropped
    }
    return {
        **tokenizer,
        'added_tokens': [],
        'post_processor': None,
        'truncation': None,
        'padding': None,
        'model': model,
    }


def added_token_ids(folder: Path) -> dict[str, int]:
    """Returns every added token with its id, from all files that list them; CheckpointConfigError
    when they contradict each other.
    """
    found: dict[str, int] = {}
    for where, token, number in _listed(folder):
        if not isinstance(token, str) or not token or not isinstance(number, int) or number < 0:
            raise CheckpointConfigError(
                f'{folder / where}: added token {token!r} has the id {number!r}',
                'it is no token id',
            )
        if found.setdefault(token, number) != number:
            raise CheckpointConfigError(
                f'{folder / where}: {token} has the id {number}',
                f'another file of this checkpoint says {found[token]}',
            )
    return found


def _listed(folder: Path) -> list[tuple[str, Any, Any]]:
    """Returns (file, token, id) wherever an added token is listed."""
    listed: list[tuple[str, Any, Any]] = []
    if is_file(folder / PUBLISHED):
        listed += [
            (PUBLISHED, entry.get('content'), entry.get('id'))
            for entry in _entries(read_json(folder / PUBLISHED), 'added_tokens')
        ]
    if is_file(folder / SETTINGS):
        settings = read_json(folder / SETTINGS)
        decoder = (
            settings.part('added_tokens_decoder').values
            if settings.has('added_tokens_decoder')
            else {}
        )
        listed += [
            (
                SETTINGS,
                entry.get('content') if isinstance(entry, dict) else entry,
                int(number) if number.isdecimal() else number,
            )
            for number, entry in decoder.items()
        ]
    if is_file(folder / ADDED):
        listed += [
            (ADDED, token, number) for token, number in read_json(folder / ADDED).values.items()
        ]
    return listed


def _entries(file: JsonFile, key: str) -> list[dict[str, Any]]:
    value = file.values.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise file.error(key, 'takes a list of objects')
    return value


def _merges(path: Path) -> list[list[str]]:
    try:
        lines = read_bytes(path).decode('utf-8').split('\n')
    except UnicodeDecodeError as error:
        raise CheckpointConfigError(
            f'{path} is not UTF-8', str(error), 'Download the checkpoint again'
        ) from error
    pairs = [
        line.rstrip('\r').split(' ')
        for line in lines
        if line.strip() and not line.startswith('#version')
    ]
    wrong = next((pair for pair in pairs if len(pair) != 2), None)
    if wrong is not None:
        raise CheckpointConfigError(
            f'{path}: {" ".join(wrong)[:80]!r} is no merge', 'a line holds two tokens'
        )
    return pairs


class PenguinTokenizer:
    """The tokenizer of the checkpoint in `folder`.

    CheckpointNotFound when the folder holds none, CheckpointConfigError when it is unusable.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        description = read_tokenizer(self.folder)
        self._markup = added_token_ids(self.folder)
        self._plain = _library_tokenizer(
            self.folder, without_added_tokens(description, self._markup)
        )
        self._bytes = _token_bytes(
            self.folder, description['model']['vocab'], frozenset(self._markup.values())
        )

    def encode_text(self, text: str) -> list[int]:
        """Returns the token ids of plain text. Whatever it contains, none is an added token; lone
        surrogates become U+FFFD.
        """
        return list(self._plain.encode(_valid(text), add_special_tokens=False).ids)

    def markup_id(self, token: str) -> int:
        """Returns the id of an added token such as `<|im_start|>`; CheckpointConfigError when the
        checkpoint has none of that name.
        """
        if token not in self._markup:
            raise CheckpointConfigError(
                f'the tokenizer of {self.folder} has no {token}',
                "Penguin-VL's prompt needs it",
                'Check that tokenizer.json and tokenizer_config.json belong to this checkpoint',
            )
        return self._markup[token]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids; markup and unknown ids are skipped, broken characters
        become U+FFFD.
        """
        return b''.join(map(self.token_bytes, ids)).decode('utf-8', 'replace')

    def token_bytes(self, token_id: int) -> bytes:
        """Returns the bytes that a token stands for, often a part of a character; they are empty
        for markup and for ids without a token.
        """
        return self._bytes.get(token_id, b'')


def _library_tokenizer(folder: Path, description: Mapping[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(json.dumps(description))
    except Exception as error:  # the library raises bare Exception
        if any(sign in str(error) for sign in NEWER_SIGNS):
            raise CheckpointConfigError(
                f'{folder / PUBLISHED} is in a form that tokenizers {version("tokenizers")} does '
                'not know',
                str(error),
                f'Type: {install_command("tokenizers", options=["--upgrade"])}; if it is the '
                'newest already, take tokenizer.json of the published checkpoint',
            ) from error
        raise CheckpointConfigError(
            f'the tokenizer of {folder} is unusable', str(error), 'Download the checkpoint again'
        ) from error


def _token_bytes(
    folder: Path, vocabulary: Mapping[str, Any], markup: frozenset[int]
) -> dict[int, bytes]:
    """Undoes the byte-level alphabet, in which each character of a token stands for one byte."""
    alphabet = {character: bytes([byte]) for byte, character in enumerate(byte_alphabet())}
    absent = sorted(
        character for character in alphabet if vocabulary.get(character) in {None, *markup}
    )
    if absent:  # text with that byte would lose it
        raise CheckpointConfigError(
            f'the tokenizer of {folder} is not byte-level', f'it has no token for {absent[0]!r}'
        )
    try:
        return {
            number: b''.join(alphabet[character] for character in token)
            for token, number in vocabulary.items()
            if number not in markup
        }
    except (KeyError, TypeError) as error:
        raise CheckpointConfigError(
            f'the tokenizer of {folder} is not byte-level', f'{error} stands for no byte'
        ) from error


def byte_alphabet() -> list[str]:
    """Returns the character that stands for each byte: the byte itself where it can be printed, or
    else the next character from U+0100 on.
    """
    printable = {*range(ord('!'), ord('~') + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    substitutes = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(substitutes)) for byte in range(256)]


def _valid(text: str) -> str:
    """Returns the text without lone surrogates, which UTF-8 cannot represent; pairs are joined."""
    return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
