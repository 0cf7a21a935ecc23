# SPDX-License-Identifier: Apache-2.0
"""Runs scripts/kept_requirements.py as on a system that brings some packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ('requirements', 'constraints', 'overrides')


def kept_requirements(
    folder: Path, system_modules: dict[str, str], list_name: str = 'run.txt'
) -> list[list[str]]:
    """Returns the three files written by an isolated Python that finds only the given modules, by
    their versions; those without one have no metadata.
    """
    site = folder / 'site'
    for module, version in system_modules.items():
        (site / module).mkdir(parents=True)
        (site / module / '__init__.py').touch()
        if version:
            (site / f'{module}-{version}.dist-info').mkdir()
            (site / f'{module}-{version}.dist-info' / 'METADATA').write_text(
                f'Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n'
            )
    arguments = [str(ROOT / 'requirements' / list_name), str(folder)]
    code = (
        f'import sys, runpy; sys.path.append({str(site)!r}); sys.argv[1:] = {arguments}; '
        f'runpy.run_path({str(ROOT / "scripts" / "kept_requirements.py")!r}, run_name="__main__")'
    )
    base = Path(sys.base_prefix) / 'bin' / f'python3.{sys.version_info.minor}'
    subprocess.run([base, '-I', '-S', '-c', code], check=True)
    return [(folder / f'{name}.txt').read_text().splitlines() for name in FILES]
