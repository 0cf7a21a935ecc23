# SPDX-License-Identifier: Apache-2.0
"""The front end of the command `penguin`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from penguin_ros.cli import exit_codes, main
from penguin_ros.errors import SettingError


def test_help_lists_every_verb_with_examples_and_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main(['--help'])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(verb in text for verb in main.VERBS)
    assert 'examples:' in text and 'exit codes:' in text


@pytest.mark.parametrize('verb', sorted(main.VERBS))
def test_every_verb_has_its_own_help_with_examples(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main([verb, '--help'])
    assert stop.value.code == 0
    assert 'examples:' in capsys.readouterr().out


def test_help_imports_no_inference_library_and_no_ros() -> None:
    code = (
        'import sys\nfrom penguin_ros.cli.main import main\n'
        'try:\n    main(["caption", "--help"])\nexcept SystemExit:\n    pass\n'
        'heavy = {"torch", "rclpy", "onnxruntime", "transformers", "cv2"} & set(sys.modules)\n'
        'sys.exit(1 if heavy else 0)'
    )
    assert (
        subprocess.run([sys.executable, '-c', code], capture_output=True, timeout=60).returncode
        == 0
    )


def test_sigterm_unwinds_a_verb_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    def run(arguments: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        finally:
            ended.append(True)
        return exit_codes.DONE

    verb = SimpleNamespace(run=run, add_arguments=lambda parser: None)
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(main.importlib, 'import_module', lambda name: verb)
    assert main.main(['doctor']) == exit_codes.INTERRUPTED
    assert ended and signal.getsignal(signal.SIGTERM) is before


def test_expected_error_is_printed_as_what_why_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> SimpleNamespace:
        def run(arguments: object) -> int:
            raise SettingError('the thing broke', 'it was thin', 'penguin doctor')

        return SimpleNamespace(run=run, add_arguments=lambda parser: None)

    monkeypatch.setattr(main.importlib, 'import_module', fail)
    assert main.main(['doctor']) == exit_codes.UNUSABLE
    assert (
        capsys.readouterr().err
        == 'error: the thing broke\n  why: it was thin\n next: penguin doctor\n'
    )


def test_unknown_verb_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main(['describe'])
    assert stop.value.code == exit_codes.UNUSABLE
    assert 'caption' in capsys.readouterr().err
