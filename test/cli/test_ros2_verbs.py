# SPDX-License-Identifier: Apache-2.0
"""`ros2 penguin` and what `ros2 doctor` says of us: the entry points that setup.py names, called as
ros2cli and ros2doctor call them, and by the real ones where they are.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from penguin_ros.cli import exit_codes
from penguin_ros.cli.main import VERBS
from penguin_ros.doctor import ros2_doctor
from penguin_ros.doctor.finding import Finding, State

ROOT = Path(__file__).resolve().parents[2]


def entry_points(group: str) -> dict[str, Any]:
    """What setup.py names for a group, loaded."""
    tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    keywords = (node for node in ast.walk(tree) if isinstance(node, ast.keyword))
    given = next(node.value for node in keywords if node.arg == 'entry_points')
    lines = ast.literal_eval(given)[group]
    pairs = (line.split(' = ') for line in lines)
    return {name: loaded(place) for name, place in pairs}


def loaded(place: str) -> Any:
    module, _, name = place.partition(':')
    return getattr(importlib.import_module(module), name)


@pytest.fixture
def ros2cli(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of ros2cli and ros2doctor that extensions call, with the real ones' signatures."""
    plugins = types.ModuleType('ros2cli.plugin_system')
    plugins.PLUGIN_SYSTEM_VERSION = '0.1'  # type: ignore[attr-defined]
    plugins.satisfies_version = lambda version, wanted: None  # type: ignore[attr-defined]
    api = types.ModuleType('ros2doctor.api')
    api.Result = Result  # type: ignore[attr-defined]
    api.Report = Report  # type: ignore[attr-defined]
    shape = types.ModuleType('ros2doctor.api.format')
    shape.doctor_error = lambda text: print(text, file=sys.stderr)  # type: ignore[attr-defined]
    for module in (plugins, api, shape):
        monkeypatch.setitem(sys.modules, module.__name__, module)


class Result:
    def __init__(self) -> None:
        self.error = 0

    def add_error(self) -> None:
        self.error += 1


class Report:
    def __init__(self, name: str) -> None:
        self.name = name
        self.items: list[tuple[str, str]] = []

    def add_to_report(self, item_name: str, item_info: str) -> None:
        self.items.append((item_name, item_info))


def test_every_verb_has_the_name_the_words_and_the_arguments_of_the_command(ros2cli: None) -> None:
    verbs = entry_points('penguin_ros.verb')
    assert set(verbs) <= set(VERBS)
    for name, kind in verbs.items():
        extension = kind()
        assert (kind.__doc__ or '').lower() == VERBS[name].lower()
        ours, own = argparse.ArgumentParser(), argparse.ArgumentParser()
        extension.add_arguments(ours, f'ros2 penguin {name}')
        importlib.import_module(f'penguin_ros.cli.{name}').add_arguments(own)
        assert ours.format_usage() == own.format_usage()


def test_a_verb_runs_and_its_error_is_printed_like_that_of_the_command(
    ros2cli: None, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = entry_points('penguin_ros.verb')['ask']()
    parser = argparse.ArgumentParser()
    ask.add_arguments(parser, 'ros2 penguin ask')
    arguments = parser.parse_args(['Is it there?', '--image', '/nowhere/a.jpg'])
    assert ask.main(args=arguments) == exit_codes.UNUSABLE
    assert '/nowhere/a.jpg' in capsys.readouterr().err


def test_ros2_doctor_counts_a_fault_and_lists_every_finding(
    ros2cli: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        Finding('numpy', State.OK, '2.4.6'),
        Finding('rich', State.FAULT, 'is not installed', 'pip install rich'),
    ]
    monkeypatch.setattr(ros2_doctor, '_findings', lambda: found)
    check = entry_points('ros2doctor.checks')['PenguinCheck']()
    assert check.check().error == 1
    assert 'rich: is not installed. pip install rich' in capsys.readouterr().err
    report = entry_points('ros2doctor.report')['PenguinReport']()
    assert report.category() == check.category()
    assert report.report().items == [
        ('numpy (ok)', '2.4.6'),
        ('rich (fault)', 'is not installed. pip install rich'),
    ]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('ros2') is None, reason='no ros2 here, which has ros2cli')
def test_the_real_ros2_lists_the_verbs_and_the_findings() -> None:
    verbs = subprocess.run(['ros2', 'penguin', '--help'], capture_output=True, text=True)
    assert all(name in verbs.stdout for name in entry_points('penguin_ros.verb'))
    report = subprocess.run(['ros2', 'doctor', '--report'], capture_output=True, text=True)
    assert 'PENGUIN_ROS' in report.stdout
