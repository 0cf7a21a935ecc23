# SPDX-License-Identifier: Apache-2.0
"""Says what a folder or a file is that is given as a checkpoint and is none, or one that cannot be
computed: a bundle, an adapter, a quantised checkpoint, pointers of Git LFS, a folder too high or
too low. Each has its own sentence and its own remedy.
"""

from __future__ import annotations

import json
import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from penguin_ros.errors import CheckpointError, CheckpointNotFound, system_reason

CONFIG = 'config.json'
ADAPTER = 'adapter_config.json'
BUNDLE = 'bundle.yaml'
POINTER = b'version https://git-lfs'
PAGES = (b'<!doctype', b'<html', b'<?xml')
HEAD_BYTES = 64
OTHER_WEIGHTS = {
    '.gguf': 'GGUF (llama.cpp)',
    '.bin': 'pickled PyTorch tensors',
    '.pt': 'pickled PyTorch tensors',
    '.pth': 'pickled PyTorch tensors',
    '.ckpt': 'pickled PyTorch tensors',
    '.h5': 'HDF5',
    '.onnx': 'ONNX',
}
BELOW = ('*/config.json', 'snapshots/*/config.json', '*/snapshots/*/config.json')
FIX_QUANTISED = (
    'Take the checkpoint that it was made from, in bfloat16 or float16; penguin build --precision '
    'int4 (or int8) makes it small here'
)
QUANTISED_NAMES = ('qweight', 'qzeros', 'weight_scale', 'weight_scale_inv', 'absmax', 'quant_state')
QUANTISED_TYPES = ('F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F4')


def require_checkpoint_folder(folder: Path) -> None:
    """Raises CheckpointNotFound, with what the path is instead, where there is no config.json."""
    try:
        names = sorted(os.listdir(folder))
        is_there = (folder / CONFIG).exists()
    except NotADirectoryError:
        raise _of_file(folder) from None
    except OSError as error:
        why, fix = system_reason(error)
        raise CheckpointNotFound(f'{folder} cannot be read', why, fix) from error
    if BUNDLE in names:
        raise CheckpointNotFound(
            f'{folder} is a bundle, no checkpoint',
            f'it holds {BUNDLE}',
            f'Give it with --bundle {shlex.quote(str(folder))} (model.bundle of the node)',
        )
    if ADAPTER in names and not any(_is_whole_model(name) for name in names):
        raise _adapter(folder)
    if not is_there:
        raise _without_config(folder, names)


def pointer_error(path: Path) -> CheckpointError | None:
    """Returns the error for a file that stands in the place of the one meant: a pointer of Git LFS,
    or a page of a web server; None for any other.
    """
    try:
        with path.open('rb') as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    if head.startswith(POINTER):
        return CheckpointNotFound(
            f'{path} is a pointer of Git LFS',
            'the repository was cloned without its large files',
            f'Type: git -C {shlex.quote(str(path.parent))} lfs pull, or: hf download OWNER/NAME',
        )
    if head.lstrip().lower().startswith(PAGES):
        return CheckpointNotFound(
            f'{path} is a web page',
            'what answered the download was not the file',
            'Download it with: hf download OWNER/NAME',
        )
    return None


def quantised_config(values: dict[str, Any]) -> str:
    """Returns how the weights are quantised by a config.json; '' when they are not."""
    for key in ('quantization_config', 'compression_config', 'quantization'):
        found = values.get(key)
        if not isinstance(found, dict) or not found:
            continue
        method = str(found.get('quant_method') or found.get('quant_algo') or key)
        if method == 'bitsandbytes':
            is_4_bit = found.get('load_in_4bit') or found.get('_load_in_4bit')
            kind = found.get('bnb_4bit_quant_type', 'fp4') if is_4_bit else 'int8'
            return f'bitsandbytes, {kind}'
        bits = found.get('bits') or found.get('w_bit')
        return f'{method.upper()}, {bits} bits' if bits else method
    return ''


def quantised_tensor(name: str, dtype: str) -> bool:
    """Returns whether a tensor of a weight file belongs to quantised weights."""
    return name.rpartition('.')[2] in QUANTISED_NAMES or dtype in QUANTISED_TYPES


def _is_whole_model(name: str) -> bool:
    return name.endswith('.safetensors') and not name.startswith('adapter')


def _of_file(path: Path) -> CheckpointNotFound:
    kind = OTHER_WEIGHTS.get(path.suffix.lower())
    if kind:
        return CheckpointNotFound(
            f'{path} is no checkpoint',
            f'{kind} is not read, only folders with safetensors',
            'Name the folder of the published checkpoint, or its hub id (owner/name)',
        )
    return CheckpointNotFound(
        f'{path} is a file',
        'a checkpoint is a folder',
        f'Name its folder: {shlex.quote(str(path.absolute().parent))}',
    )


def _adapter(folder: Path) -> CheckpointNotFound:
    base = ''
    with suppress(OSError, ValueError, AttributeError):
        values = json.loads((folder / ADAPTER).read_text(encoding='utf-8'))
        base = str(values.get('base_model_name_or_path') or '')
    of = f' of {base}' if base else ''
    return CheckpointNotFound(
        f'{folder} is a LoRA adapter{of}, no checkpoint',
        'it holds only what was learned beside the weights, which are not here',
        'Merge it first: load the base with transformers and the adapter with peft, then '
        "PeftModel.merge_and_unload() and save_pretrained('merged'); give that folder",
    )


def _without_config(folder: Path, names: list[str]) -> CheckpointNotFound:
    below = sorted({path.parent for pattern in BELOW for path in folder.glob(pattern)})
    weights = [path for path in below if any(path.glob('*.safetensors'))]
    if weights:
        return CheckpointNotFound(
            f'{folder} has no {CONFIG}',
            f'the checkpoint lies below it ({len(weights)} found)',
            f'Name that folder: {shlex.quote(str(weights[-1]))}',
        )
    above = folder.absolute().parent
    with suppress(OSError):
        if (above / CONFIG).is_file():
            return CheckpointNotFound(
                f'{folder} has no {CONFIG}',
                'it is a part of a checkpoint, whose folder lies above it',
                f'Name that folder: {shlex.quote(str(above))}',
            )
    other = {
        OTHER_WEIGHTS[Path(name).suffix] for name in names if Path(name).suffix in OTHER_WEIGHTS
    }
    if other:
        return CheckpointNotFound(
            f'{folder} has no {CONFIG}',
            f'it holds {", ".join(sorted(other))}, which is not read',
            'Name the folder of the published checkpoint, with safetensors, or its hub id',
        )
    return CheckpointNotFound(
        f'{folder} has no {CONFIG}',
        'it is empty' if not names else f'it holds {", ".join(names[:4])} and no checkpoint',
        'Name the folder that holds config.json and the weights, or a hub id (owner/name)',
    )
