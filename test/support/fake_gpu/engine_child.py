# SPDX-License-Identifier: Apache-2.0
"""The program of a process that builds an engine, on a fake machine:

    python engine_child.py PLANTED.json ORDER

PLANTED holds the `version` of TensorRT; `dies` names the part at which the process kills itself,
as the kernel does when memory runs out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support.fake_gpu.installed import Machine, use

from penguin_ros.export.tensorrt import engine_process


def main() -> int:
    planted = json.loads(Path(sys.argv.pop(1)).read_text())
    machine = Machine(planted['version'])
    use(machine)
    part = json.loads(sys.argv[1]).get('part')

    def refuses(model: object) -> str:
        if part == planted.get('dies'):
            os.kill(os.getpid(), signal.SIGKILL)
        return ''

    machine.refuses = refuses
    return engine_process.main()


if __name__ == '__main__':
    sys.exit(main())
