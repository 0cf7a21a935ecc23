# SPDX-License-Identifier: Apache-2.0
"""Makes a checkpoint whose numbers float16 cannot hold: what is added up from layer to layer, and
the product inside each. Large published models leave its range, too.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

LARGER = {
    'self_attn.o_proj.weight': (10, 16),
    'mlp.gate_proj.weight': (5, 6),
    'mlp.up_proj.weight': (8, 9),
    'mlp.down_proj.weight': (-3, 1),
}
"""By the end of a tensor's name the powers of two of its factor, in the LLM and in the encoder."""


def overflowing(checkpoint: Path, folder: Path) -> Path:
    """Copies a checkpoint in float32 with some of its matrices much larger. Norms take the size
    away again, so that its answers are numbers of the usual size.
    """
    shutil.copytree(checkpoint, folder)
    changed = 0
    for file in sorted(folder.rglob('*.safetensors')):
        tensors = load_file(file)
        for name in tensors:
            for ending, powers in LARGER.items():
                if name.endswith(ending):
                    power = powers['vision_encoder' in name]
                    tensors[name] = np.ldexp(tensors[name], power)
                    changed += 1
        save_file(tensors, file, {'format': 'pt'})
    assert changed, 'no matrix of a layer was found'
    return folder
