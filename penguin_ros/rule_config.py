# SPDX-License-Identifier: Apache-2.0
"""The settings of rules, section `rule` of `config.py`: what a rule that leaves a number at zero
gets, and what holds for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from penguin_ros.errors import SettingError
from penguin_ros.settings import live_setting, setting


@dataclass(frozen=True)
class RuleConfig:
    """Rules, "tell me when ...": what holds for all of them, and what those get that leave a number
    at zero (the first ten).
    """

    ORDERED: ClassVar[tuple[tuple[str, str], ...]] = (
        ('threshold_end', 'threshold_begin'),
        ('confirm_count', 'confirm_window'),
        ('heal_count', 'heal_window'),
    )
    """Pairs of which the first is at most the second, in settings and in rules."""

    threshold_begin: float = live_setting(
        0.7, 'A rule begins to fire at this probability.', span=(0.01, 1.0)
    )
    threshold_end: float = live_setting(
        0.4, 'A rule ceases to fire below this probability.', span=(0.01, 1.0)
    )
    confirm_count: int = live_setting(
        2, 'So many of the last rule.confirm_window evaluations begin an event.', span=(1, 100)
    )
    confirm_window: int = live_setting(3, 'See rule.confirm_count.', span=(1, 100))
    heal_count: int = live_setting(
        2, 'So many of the last rule.heal_window evaluations end an event.', span=(1, 100)
    )
    heal_window: int = live_setting(3, 'See rule.heal_count.', span=(1, 100))
    period: float = live_setting(
        1.0, 'Time from one evaluation of a rule to the next.', unit='s', span=(0.05, 86400.0)
    )
    clip: float = live_setting(
        0.0,
        'Length of the clip that an evaluation looks at; 0: that of clip.seconds.',
        unit='s',
        span=(0.0, 3600.0),
    )
    min_duration: float = live_setting(
        0.0,
        'Time for which a condition has held before its event begins.',
        unit='s',
        span=(0.0, 86400.0),
    )
    cooldown: float = live_setting(
        0.0,
        "Time from the end of a rule's event until its next one may begin.",
        unit='s',
        span=(0.0, 604800.0),
    )
    max_rules: int = live_setting(
        100, 'Maximum number of rules; one more is refused with TOO_MANY_RULES.', span=(1, 10000)
    )
    max_other_mass: float = live_setting(
        0.5,
        'A rule is unknown where the model gives more probability than this to neither of the '
        'answers.',
        span=(0.0, 1.0),
    )
    still_period: float = live_setting(
        10.0,
        'Time between two messages that say that an event goes on.',
        unit='s',
        span=(0.1, 86400.0),
    )
    lost_after: float = live_setting(
        120.0,
        'An event whose rule could not be evaluated for this long is lost.',
        unit='s',
        span=(0.1, 86400.0),
    )
    dark_level: int = live_setting(
        12,
        'An image whose brightest parts (the 99th percentile) are darker than this is too dark for '
        'rules, which are then unknown; 0: none is.',
        span=(0, 255),
    )
    calibrated: bool = live_setting(
        False,
        'Subtract from the probability of a condition a bounded part of what it gets on a neutral '
        'clip, unless the rule says otherwise. Try it with penguin rules replay first.',
    )
    share: float = live_setting(
        0.5,
        "Share of the model's time that rules may take while captions wait; 1: captions wait as "
        'long as rules do.',
        span=(0.05, 1.0),
    )
    file: str = setting(
        'auto',
        'YAML file of rules: read when the node is configured, and kept up to date when rules are '
        'set or removed. auto: penguin_rules/NODE.yaml in ROS_HOME, or in ~/.ros; empty: rules are '
        'not kept.',
    )

    def __post_init__(self) -> None:
        """Checks the settings that go together; SettingError says which do not fit."""
        for less, more in self.ORDERED:
            low, high = getattr(self, less), getattr(self, more)
            if low > high:
                raise SettingError(f'rule.{less} = {low}', f'rule.{more} is {high}, which is less')
