# SPDX-License-Identifier: Apache-2.0
"""What `ros2 doctor` says of penguin_ros: its findings, as that command's checks and report.

ros2doctor finds these classes by the entry points in setup.py. It takes any object with a category
and a check or a report. Image topics are not listened to: `ros2 doctor` is quick.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from penguin_ros.doctor.apart import watched
from penguin_ros.doctor.checks import Wanted, findings_of
from penguin_ros.doctor.finding import Finding, State

CATEGORY = 'penguin_ros'


@cache
def _findings() -> list[Finding]:
    """The findings of this process: a report follows its check at once."""
    return watched(lambda progress: findings_of(Wanted(), progress))


class PenguinCheck:
    """Counts faults as errors of `ros2 doctor`, and prints each with what to type."""

    def category(self) -> str:
        """Returns the word that ties the check to the report."""
        return CATEGORY

    def check(self) -> Any:
        """Returns a ros2doctor Result."""
        from ros2doctor.api import Result
        from ros2doctor.api.format import doctor_error

        result = Result()
        for finding in _findings():
            if finding.state is State.FAULT:
                result.add_error()
                doctor_error(f'{CATEGORY}: {finding.topic}: {_text(finding)}')
        return result


class PenguinReport:
    """Lists all findings under `ros2 doctor --report`."""

    def category(self) -> str:
        """Returns the word that ties the report to the check."""
        return CATEGORY

    def report(self) -> Any:
        """Returns a ros2doctor Report."""
        from ros2doctor.api import Report

        report = Report(CATEGORY.upper())
        for finding in _findings():
            report.add_to_report(f'{finding.topic} ({finding.state.value})', _text(finding))
        return report


def _text(finding: Finding) -> str:
    return f'{finding.text}. {finding.fix}' if finding.fix else finding.text
