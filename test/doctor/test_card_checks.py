# SPDX-License-Identifier: Apache-2.0
"""`penguin doctor` on planted machines with a card: what uses it, what leaves it idle, and the line
that mends that. Drivers and libraries are planted as files, and the command runs in a process of
its own, without its checks of ROS and of other libraries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CARD = 'NVIDIA GeForce RTX 4090'

PROGRAM = """
import sys
from pathlib import Path
from support.planted_card import libcuda
from penguin_ros import nvidia_card
from penguin_ros.cli.main import main
from penguin_ros.doctor import card_checks, cuda_checks, library_checks, machine_checks

folder, cuda = Path(sys.argv[1]), int(sys.argv[2])
nvidia_card.DRIVER_FILES = folder
nvidia_card._library = lambda: libcuda(cuda) if cuda else None
cuda_checks.driver_version = lambda: cuda
card_checks.load_cuda_libraries = lambda library: sys.argv[3:]
library_checks.environment = machine_checks.ros = machine_checks.transport = lambda: iter(())
sys.exit(main(['doctor', '--seconds', '0', '--json']))
"""

TORCH = """
from types import SimpleNamespace
from torch.version import __version__
from torch import version
cuda = SimpleNamespace(is_available=lambda: {}, get_device_name=lambda index: {!r})
"""

ONNXRUNTIME = """
__version__ = '1.31.1'
get_available_providers = lambda: ['CPUExecutionProvider']
"""


@dataclass
class PlantedMachine:
    """A folder that comes first on PYTHONPATH, and the files of a driver."""

    folder: Path
    cuda: int = 13000

    def torch(self, version: str, cuda: str) -> None:
        """Plants a torch that was built for a CUDA, '' for CPUs."""
        package = self.folder / 'torch'
        package.mkdir()
        works = bool(cuda) and int(cuda.split('.')[0]) <= self.cuda // 1000
        (package / '__init__.py').write_text(TORCH.format(works, CARD))
        value = repr(cuda) if cuda else 'None'
        text = (
            f'from typing import Optional\n__version__ = {version!r}\ncuda: Optional[str] = {value}'
        )
        (package / 'version.py').write_text(text + '\n')

    def onnxruntime(self, cuda: str, *packages: str) -> None:
        """Plants an onnxruntime that was built for a CUDA, as installed by `packages`."""
        capi = self.folder / 'onnxruntime' / 'capi'
        capi.mkdir(parents=True)
        (capi.parent / '__init__.py').write_text(ONNXRUNTIME)
        text = f'__version__ = "1.31.1"\ncuda_version = {cuda!r}\n'
        (capi / 'build_and_package_info.py').write_text(text)
        if cuda:
            (capi / 'libonnxruntime_providers_cuda.so').touch()
        for package in packages:
            metadata = self.folder / f'{package.replace("-", "_")}-1.31.1.dist-info' / 'METADATA'
            metadata.parent.mkdir()
            metadata.write_text(f'Metadata-Version: 2.1\nName: {package}\nVersion: 1.31.1\n')

    def doctor(self, *lacking: str) -> dict[str, dict[str, str]]:
        """Runs the command where libraries are `lacking`; returns its findings by topic."""
        driver = self.folder / 'driver'
        (driver / 'gpus' / '0').mkdir(parents=True)
        (driver / 'gpus' / '0' / 'information').write_text(f'Model: \t {CARD}\n')
        (driver / 'version').write_text('NVRM version: Kernel Module  580.95.05  Tue\n')
        path = (self.folder, ROOT, ROOT / 'test', os.environ.get('PYTHONPATH', ''))
        done = subprocess.run(
            [sys.executable, '-c', PROGRAM, str(driver), str(self.cuda), *lacking],
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, path))},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout, done.stderr
        return {item['topic']: item for item in json.loads(done.stdout)}


@pytest.fixture
def machine(tmp_path: Path) -> PlantedMachine:
    return PlantedMachine(tmp_path)


def test_a_torch_for_cpus_beside_a_card_is_told_with_the_line(machine: PlantedMachine) -> None:
    machine.torch('2.13.0+cpu', '')
    found = machine.doctor()
    assert found['card']['text'] == f'{CARD}, driver 580.95.05, CUDA 13.0'
    torch = found['torch on the card']
    assert torch['text'] == f'torch here is built for CPUs; {CARD} is idle'
    assert 'pip install --force-reinstall' in torch['fix'] and 'torch' in torch['fix']
    assert torch['state'] == 'note'
    assert found['model.backend auto']['text'] == 'checkpoints run with torch on the CPU'


def test_both_packages_of_onnxruntime_at_once_are_a_fault(machine: PlantedMachine) -> None:
    machine.onnxruntime('', 'onnxruntime', 'onnxruntime-gpu')
    found = machine.doctor()
    packages = found['onnxruntime packages']
    assert packages['state'] == 'fault'
    assert 'onnxruntime and onnxruntime-gpu are both installed' in packages['text']
    remove, _, install = packages['fix'].partition(' && ')
    assert remove.endswith('pip uninstall --yes onnxruntime onnxruntime-gpu')
    assert install.endswith('pip install "onnxruntime-gpu[cuda,cudnn]"')
    assert 'onnxruntime here is built for CPUs' in found['onnxruntime on the card']['text']


def test_a_driver_that_is_too_old_for_torch_is_told_with_both_ways_out(
    machine: PlantedMachine,
) -> None:
    machine.cuda = 12040
    machine.torch('2.13.0', '13.0')
    found = machine.doctor()
    torch = found['torch on the card']
    assert (
        'built for CUDA 13.0, which the driver is too old for (CUDA 12.4 at most)' in torch['text']
    )
    assert torch['text'].endswith(f'{CARD} is idle')
    assert torch['fix'].startswith('Update the NVIDIA driver, or type: ')
    assert 'torch>=2.1,<2.11' in torch['fix']


def test_a_machine_where_all_is_well_is_told_so(machine: PlantedMachine) -> None:
    machine.torch('2.11.0', '13.0')
    machine.onnxruntime('13.0', 'onnxruntime-gpu')
    found = machine.doctor()
    names = ('card', 'torch on the card', 'onnxruntime on the card', 'model.backend auto', 'cuda')
    assert {name: found[name]['state'] for name in names} == dict.fromkeys(names, 'ok')
    assert found['torch on the card']['text'] == '2.11.0, built for CUDA 13.0'
    assert found['onnxruntime on the card']['text'] == '1.31.1, built for CUDA 13.0'
    assert found['model.backend auto']['text'] == 'checkpoints run with torch on CUDA'


def test_libraries_that_the_provider_does_not_find_are_listed(machine: PlantedMachine) -> None:
    machine.onnxruntime('13.0', 'onnxruntime-gpu')
    finding = machine.doctor('libcublas.so.13', 'libcurand.so.10')['onnxruntime on the card']
    assert finding['state'] == 'note'
    assert finding['text'].endswith('missing: libcublas.so.13, libcurand.so.10')
    assert finding['fix'].endswith('pip install "onnxruntime-gpu[cuda,cudnn]"')
