# SPDX-License-Identifier: Apache-2.0
"""`penguin rules` against a running node, each time as a command of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penguin_ros.cli import exit_codes, main

ROOT = Path(__file__).resolve().parents[2]


def test_a_share_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(['rules', 'add', 'dog', 'Is there a dog?', '--confirm', 'two'])
    assert ended.value.code == exit_codes.UNUSABLE and '2/3' in capsys.readouterr().err


class Commands:
    """Runs `penguin rules` while the node's graph spins."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, '-m', 'penguin_ros.cli.main', 'rules', *words],
            cwd=ROOT,
            env={**os.environ, 'ROS_DOMAIN_ID': str(self._graph.domain.number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        self._graph.wait_for(lambda: process.poll() is not None, 40, 'the command')
        out, err = process.communicate()
        return process.returncode, out, err

    def __call__(self, *words: str) -> tuple[int, str, str]:
        return self.end(self.begin(*words))


@pytest.mark.slow
def test_rules_are_added_listed_tested_watched_and_removed(
    fresh_graph: Any, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from support.live_rules import LiveRules

    from penguin_ros.rules.event import EventKind

    watched, penguin = LiveRules(fresh_graph, tiny_checkpoint, tmp_path), Commands(fresh_graph)
    watch = penguin.begin('watch', '--count', '2', '--seconds', '60', '--json')
    fresh_graph.wait_for(
        lambda: fresh_graph.node.count_subscribers('/penguin/event') >= 2, 30, 'the watcher'
    )
    code, out, err = penguin(
        *('add', 'dog', 'Is there a dog?', '--confirm', '1/1', '--heal', '1/1'),
        *('--begin', '0.8', '--severity', 'error', '--camera', 'camera', '--picture'),
    )
    assert (code, out) == (0, 'dog is set: begins at 0.80 (1 of 1), ends below 0.40 (1 of 1)\n'), (
        err
    )
    code, out, err = penguin('add', 'cat', 'Is there a cat?', '--choice', 'yes')
    assert code == exit_codes.FAILED and 'choices' in err, err
    watched.hold('dog')
    assert watched.wait_for_event(EventKind.BEGIN).severity == 2
    code, out, err = penguin('test', 'dog', '--last', '1')
    assert code == 0 and out.endswith('which reaches the threshold to begin\n'), err
    code, out, err = penguin('list')
    assert code == 0 and 'dog: Is there a dog?' in out and 'camera: active' in out, err
    code, out, err = penguin('list', '--json')
    assert json.loads(out)['rules'][0]['id'] == 'dog', err
    watched.hold()
    code, out, err = penguin.end(watch)
    begin, end = map(json.loads, out.splitlines())
    assert code == 0 and (begin['kind'], end['kind']) == ('BEGIN', 'END'), err
    assert begin['id'] == end['id'] and begin['picture'][0] > 100
    code, out, err = penguin('test', '--condition', 'Is it a dog?', '--json')
    assert code == 0 and json.loads(out)['probability'] < 0.5, err
    code, out, err = penguin('remove', 'dog', 'dog')
    assert code == exit_codes.FAILED and out == 'dog is removed\n' and 'no rule' in err
    watched.node.process.stop()
