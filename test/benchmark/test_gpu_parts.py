# SPDX-License-Identifier: Apache-2.0
"""A benchmark on a borrowed GPU keeps what it found whatever happens to it, and no part takes the
time of those behind it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'benchmarks'))

from gpu_compiled import KeptKernels
from gpu_parts import LEAST_S, OutOfTimeError, Part, Record, limited, require, run_parts
from support.fake_gpu.kernel_images import stand_in

from penguin_ros.kernels.table import Compiled, Grid, Kernel, pointers


def test_what_fails_and_what_has_no_time_are_told_and_the_rest_is_run(tmp_path: Path) -> None:
    record = Record(tmp_path / 'found.json')
    ran: list[str] = []

    def fails() -> None:
        record.found['half'] = 1
        raise RuntimeError('no kernel')

    parts = [
        Part('fails', 60, fails),
        Part('runs', 60, lambda: ran.append('runs')),
        Part('has no time', LEAST_S / 2, lambda: ran.append('never')),
    ]
    assert run_parts(parts, record, 1) == ['fails', 'has no time'] and ran == ['runs']
    written = json.loads((tmp_path / 'found.json').read_text())
    assert 'no kernel' in written['fails: failed'] and written['half'] == 1
    assert 'the time was over' in written['has no time: failed']
    assert written['seconds'].keys() == {'fails', 'runs', 'has no time'}


def test_a_part_ends_at_its_limit_even_where_errors_are_caught() -> None:
    begin, given_up = time.monotonic(), []
    with pytest.raises(OutOfTimeError), limited(0.2, lambda: given_up.append(1)):
        while time.monotonic() - begin < 60:
            try:
                time.sleep(0.01)
            except Exception:  # as a measurement does that goes on with the next
                pass
    assert time.monotonic() - begin < 30 and not given_up


def test_a_part_that_hangs_in_the_driver_leaves_what_was_found(tmp_path: Path) -> None:
    script = (
        'import signal, time\n'
        'import gpu_parts\n'
        'gpu_parts.GRACE_S, gpu_parts.LEAST_S = 0.5, 0.1\n'
        f'record = gpu_parts.Record(__import__("pathlib").Path({str(tmp_path / "found.json")!r}))\n'
        'def hang():\n'
        '    record.found["first"] = 7\n'
        '    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n'
        '    time.sleep(100)\n'
        'gpu_parts.run_parts([gpu_parts.Part("hangs", 0.3, hang)], record, 1)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT / 'benchmarks', check=False, timeout=60
    )
    written = json.loads((tmp_path / 'found.json').read_text())
    assert done.returncode == 3 and written['first'] == 7
    assert 'it hung' in written['hangs: failed']


def test_a_missing_package_is_named_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = Record()
    require({'json': ''}, {'no_such_package': 'nothing is compared'}, record)
    assert 'nothing is compared' in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        require({'no_such.package': 'pip install it'}, {}, record)
    assert ended.value.code == 2 and 'pip install it' in capsys.readouterr().err


def test_a_kernel_is_compiled_once_for_a_target_and_kept_for_the_next_process(
    tmp_path: Path,
) -> None:
    first = Kernel('one', 'one_row.add_product', pointers(x='fp32'), {'K': 4}, Grid(1))
    other = replace(first, name='other')
    asked: list[str] = []

    def compiler(kernels: list[Kernel], target: int) -> list[Compiled]:
        asked.extend(f'{kernel.name} {target}' for kernel in kernels)
        return [stand_in(kernel, target) for kernel in kernels]

    kept = KeptKernels(tmp_path, compiler)
    made = kept([first], 90)
    assert kept([other, first], 90)[1] == made[0] and asked == ['one 90', 'other 90']
    again = KeptKernels(tmp_path, compiler)
    assert again([first, other], 90) == kept([first, other], 90) and again.compiled == 0
    assert again([first], 87)[0].target == 87 and asked[-1] == 'one 87'
