# SPDX-License-Identifier: Apache-2.0
"""Runs code against a Pillow without the names that came after 9.0, the version of Ubuntu 22.04."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_TEST = Path(__file__).resolve().parents[1]

# Pillow's own modules use the newer names among themselves, so they are imported before.
_PRELUDE = """
import sys, types
import PIL, PIL.Image, PIL.ImageDraw, PIL.ImageFont, PIL.ImageOps
newer = ('Resampling', 'Transpose', 'Transform', 'Dither', 'Palette', 'Quantize')
names = {name: value for name, value in vars(PIL.Image).items() if name not in newer}
PIL.Image = sys.modules['PIL.Image'] = types.ModuleType('PIL.Image')
vars(PIL.Image).update(names)
if hasattr(PIL.ImageFont, 'load_default_imagefont'):  # one size, Latin letters
    PIL.ImageFont.load_default = PIL.ImageFont.load_default_imagefont

def truetype(*arguments):
    raise OSError('no such font')

PIL.ImageFont.truetype = truetype
"""


def run_with_old_pillow(code: str) -> str:
    """Runs Python code in a process of its own and returns what it prints; AssertionError with its
    errors when it fails.
    """
    path = os.pathsep.join([str(_TEST), str(_TEST.parent), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(
        [sys.executable, '-c', _PRELUDE + code],
        env={**os.environ, 'PYTHONPATH': path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
