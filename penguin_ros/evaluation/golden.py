# SPDX-License-Identifier: Apache-2.0
r"""Golden values: what the reference computed for some requests, one file `cases/*.npz` for each.

Every key of a file is optional except that a case must give a prompt or its token ids; unknown keys
are ignored.

A case gives its prompt as rendered text only. `messages_of` turns it back into the messages it came
from, so that our own rendering and tokenising can be compared. The text is cut at the markup: turns
at `<|im_start|>ROLE\n` and `<|im_end|>\n`, while the generation prompt at the end is left to the
renderer. Inside a turn, `<image>\n` is an image. A row of `<image>,` that ends in `<image>\n`, or
one whose placeholders follow `Time T.Ts:`, is a video, and so is a lone placeholder in a case that
has frames but no image. What stands between them is text. Whatever is mistaken here shows as a
prompt that differs.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import PenguinError
from penguin_ros.preprocessing.prompt import ImagePart, Message, Part, TextPart, VideoPart

FORMATS: dict[str, tuple[str, tuple[int, ...]]] = {
    'prompt': ('U', (0,)),
    'input_ids': ('iu', (1, 2)),
    'max_tokens': ('iu', (0,)),
    'merge_size': ('iu', (0,)),
    'image': ('u', (3, 4)),
    'frames': ('u', (4,)),
    'timestamps': ('iuf', (1,)),
    'frame_types': ('iu', (1,)),
    'grid_sizes': ('iu', (2,)),
    'merge_sizes': ('iu', (1,)),
    'pixel_values': ('f', (2,)),
    'vision_features': ('f', (2,)),
    'projected': ('f', (2,)),
    'logits_last': ('f', (1,)),
    'logits_argmax': ('iu', (1,)),
    'step_logits': ('f', (2,)),
    'generated_margins': ('f', (1,)),
    'generated': ('iu', (1,)),
}
"""For each key the kinds of numpy types and the numbers of dimensions that it may have."""


class GoldenValuesError(PenguinError):
    """A folder of golden values is missing, empty or malformed."""


@dataclass(frozen=True, eq=False)
class GoldenCase:
    """One request and what the reference made of it: the `values` of those keys that the file
    has.
    """

    name: str
    values: Mapping[str, NDArray[Any]]

    def get(self, key: str) -> NDArray[Any] | None:
        """The array of `key`, or None when the case lacks it."""
        return self.values.get(key)

    def number(self, key: str, default: int) -> int:
        """The whole number of `key`, or `default` when the case lacks it."""
        return int(self.values[key]) if key in self.values else default

    def text(self, key: str) -> str | None:
        """The text of `key`, or None when the case lacks it."""
        return str(self.values[key]) if key in self.values else None

    @property
    def images(self) -> list[NDArray[np.uint8]]:
        """The images (h, w, 3) for those parts of the prompt that are no video."""
        image = self.get('image')
        return [] if image is None else [image] if image.ndim == 3 else list(image)

    @property
    def frames(self) -> list[NDArray[np.uint8]]:
        """The frames (h, w, 3) of the video."""
        return list(self.values['frames']) if 'frames' in self.values else []

    @property
    def teacher_ids(self) -> list[int]:
        """The tokens of the reference's continuation, taken from the logits of its steps where the
        ids themselves are not given.
        """
        if 'generated' in self.values:
            return [int(token_id) for token_id in self.values['generated']]
        return (
            [int(row.argmax()) for row in self.values['step_logits']]
            if 'step_logits' in self.values
            else []
        )

    @property
    def positions(self) -> int:
        """The positions that prompt and continuation take, as far as the file tells."""
        prompt = max(
            (self.values[key].size for key in ('input_ids', 'logits_argmax') if key in self.values),
            default=0,
        )
        return prompt + len(self.teacher_ids) + 1


def read_cases(folder: Path) -> list[GoldenCase]:
    """Reads all cases of `folder`, by name; GoldenValuesError says what is missing or malformed."""
    cases = folder / 'cases'
    if not cases.is_dir():
        raise GoldenValuesError(
            f'{folder} holds no golden values',
            f'there is no folder {cases}',
            'Name a folder with checkpoint/ and cases/*.npz',
        )
    paths = sorted(cases.glob('*.npz'))
    if not paths:
        raise GoldenValuesError(f'{cases} holds no cases', 'there is no *.npz file in it')
    return [read_case(path) for path in paths]


def read_case(path: Path) -> GoldenCase:
    """Reads one case; GoldenValuesError names the file and the key."""
    values = _arrays(path)
    for key, array in values.items():
        _check(path, key, array)
    grids = values.get('grid_sizes')
    merges = values.get('merge_sizes')
    if grids is not None and merges is not None and len(grids) != len(merges):
        raise GoldenValuesError(
            f'{path} contradicts itself', f'{len(grids)} grid_sizes, {len(merges)} merge_sizes'
        )
    if 'prompt' not in values and 'input_ids' not in values:
        raise GoldenValuesError(f'{path} cannot be run', 'it gives neither prompt nor input_ids')
    return GoldenCase(path.stem, values)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in FORMATS if key in archive.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
    ) as error:
        raise GoldenValuesError(
            f'{path} cannot be read',
            str(error) or type(error).__name__,
            'It must be an .npz archive of plain arrays, written by numpy.savez',
        ) from error


def _check(path: Path, key: str, array: NDArray[Any]) -> None:
    kinds, dimensions = FORMATS[key]
    wanted = (
        f'a type of kind {" or ".join(kinds)} in {" or ".join(map(str, dimensions))} dimensions'
    )
    is_good = array.dtype.kind in kinds and array.ndim in dimensions
    if key in ('image', 'frames'):
        wanted = 'pixels of uint8 RGB'
        is_good = (
            is_good and array.dtype == np.uint8 and array.shape[-1] == 3 and 0 not in array.shape
        )
    elif is_good and key in ('max_tokens', 'merge_size', 'merge_sizes', 'grid_sizes'):
        wanted = 'numbers from 1 on' + (', three per frame' if key == 'grid_sizes' else '')
        is_good = bool((array >= 1).all()) and (key != 'grid_sizes' or array.shape[1] == 3)
    if not is_good:
        raise GoldenValuesError(
            f'{path}: {key} is {array.dtype} {array.shape}', f'the format wants {wanted}'
        )


_GENERATION_PROMPT = '<|im_start|>assistant\n<think>\n\n</think>\n\n'
_TURN = re.compile(r'<\|im_start\|>([^\n]*)\n(.*?)<\|im_end\|>\n', re.DOTALL)
_LABEL = r'(?:Time -?[0-9.]+s:)?'
_VISUAL = re.compile(rf'(?:{_LABEL}<image>,)*{_LABEL}<image>\n')
_TIME = re.compile(r'Time (-?[0-9.]+)s:<image>')


def messages_of(case: GoldenCase) -> list[Message]:
    """The messages that the case's prompt came from; GoldenValuesError when it is no chat
    markup.
    """
    prompt = case.text('prompt') or ''
    body = prompt.removesuffix(_GENERATION_PROMPT)
    turns = list(_TURN.finditer(body))
    if not turns or ''.join(turn.group() for turn in turns) != body:
        raise GoldenValuesError(
            f'the prompt of case {case.name} is no chat markup', f'it begins with {prompt[:60]!r}'
        )
    return [Message(turn.group(1), tuple(_parts(turn.group(2), case))) for turn in turns]


def _parts(content: str, case: GoldenCase) -> Iterator[Part]:
    end = 0
    for found in _VISUAL.finditer(content):
        if found.start() > end:
            yield TextPart(content[end : found.start()])
        yield _visual(found.group(), case)
        end = found.end()
    if end < len(content):
        yield TextPart(content[end:])


def _visual(text: str, case: GoldenCase) -> Part:
    count = text.count('<image>')
    labels = _TIME.findall(text)
    if count == 1 and not labels and not (case.frames and not case.images):
        return ImagePart()
    if len(labels) != count:
        return VideoPart(None, frames=count)
    given = case.get('timestamps')
    seconds = given if given is not None and len(given) == count else labels
    return VideoPart(tuple(float(value) for value in seconds), frames=count)
