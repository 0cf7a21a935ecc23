# SPDX-License-Identifier: Apache-2.0
"""Lets scripts that were written for earlier names of modules import them under those names.

Python runs this file at its start where its folder is on PYTHONPATH; the cases outside the
repository are run that way.
"""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3] / 'penguin_ros'
PRESENT = {
    'penguin_ros.ros.image_conversion': ROOT / 'media' / 'convert.py',
    'penguin_ros.ros.camera_source': ROOT / 'media' / 'source.py',
    'penguin_ros.ros.penguin_node_main': ROOT / 'ros' / 'node' / 'main.py',
}


class RenamedModules:
    """Finds a module by its earlier name."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Returns the spec of the file that the module lies in now."""
        return (
            importlib.util.spec_from_file_location(name, PRESENT[name]) if name in PRESENT else None
        )


sys.meta_path.append(RenamedModules)
