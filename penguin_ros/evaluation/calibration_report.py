# SPDX-License-Identifier: Apache-2.0
"""Calibration as a table, as plain values, and as a reliability diagram."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from penguin_ros.checkpoint.calibration import AnswerTemperatures
from penguin_ros.errors import PenguinError
from penguin_ros.evaluation.calibration import (
    CalibrationFigures,
    Interval,
    JudgedScore,
    figures_of,
    fitted_temperature,
)
from penguin_ros.evaluation.calibration_scenes import YES_NO_KIND, CalibrationRun
from penguin_ros.installation import install_command

WANTED = 0.03
"""The expected calibration error after fitting, at most."""

GROUPS: Mapping[str, tuple[str, Callable[[JudgedScore], bool]]] = {
    'yes_no': ('yes or no', lambda each: each.kind == YES_NO_KIND),
    'choices': ('choices', lambda each: each.kind != YES_NO_KIND),
}


@dataclass(frozen=True)
class FittedGroup:
    """One kind of probabilities before and after the `temperature` that was fitted on other
    scenes.
    """

    temperature: float
    before: CalibrationFigures
    after: CalibrationFigures


@dataclass(frozen=True, eq=False)
class CalibrationReport:
    """What comes of a run."""

    run: CalibrationRun

    @cached_property
    def groups(self) -> dict[str, FittedGroup]:
        """By group of questions, those of which there are some."""
        found = {}
        for name, (_, belongs) in GROUPS.items():
            judged = [each for each in self.run.judged if belongs(each)]
            temperature = fitted_temperature([each for each in self.run.fit if belongs(each)])
            if judged:
                found[name] = FittedGroup(
                    temperature, figures_of(judged, 1.0), figures_of(judged, temperature)
                )
        return found

    @property
    def temperatures(self) -> AnswerTemperatures:
        """What was fitted, rounded as it is written."""
        return AnswerTemperatures(
            **{name: round(group.temperature, 3) for name, group in self.groups.items()}
        )

    @property
    def is_reached(self) -> bool:
        """Whether every error is as small as wanted after fitting."""
        return all(group.after.error.value <= WANTED for group in self.groups.values())

    def table(self) -> str:
        """Returns the figures for people, as Markdown."""
        lines = [
            f'{self.run.model}; {len({each.seed for each in self.run.fit})} other scenes fitted',
            '',
            '| | asked | right | temperature | calibration error | wanted | Brier score |',
            '|---|---:|---:|---:|---:|---:|---:|',
        ]
        for name, group in self.groups.items():
            title = GROUPS[name][0]
            for figures, temperature, wanted in (
                (group.before, 1.0, ''),
                (group.after, group.temperature, f'{WANTED}'),
            ):
                lines.append(
                    f'| {title} | {figures.count} | {100 * figures.right:.1f} % | '
                    f'{temperature:.2f} | {_in_words(figures.error)} | {wanted} | '
                    f'{_in_words(figures.brier)} |'
                )
        return '\n'.join(lines)

    def record(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {
            'model': self.run.model,
            'fitted_on_scenes': len({each.seed for each in self.run.fit}),
            'temperatures': self.temperatures.as_plain(),
            'wanted_error': WANTED,
            'is_reached': self.is_reached,
            'groups': {name: asdict(group) for name, group in self.groups.items()},
        }

    def draw(self, path: Path) -> None:
        """Draws the reliability diagram; PenguinError without matplotlib."""
        try:
            import matplotlib
        except ImportError as error:
            raise PenguinError(
                'the diagram cannot be drawn',
                str(error),
                f'Type: {install_command("matplotlib")}',
            ) from error
        matplotlib.use('Agg')
        from matplotlib import pyplot

        figure, panels = pyplot.subplots(
            1, len(self.groups), figsize=(4.4 * len(self.groups), 4.8), squeeze=False
        )
        for panel, (name, group) in zip(panels[0], self.groups.items(), strict=True):
            _draw_group(panel, name, group)
        figure.suptitle(self.run.model, fontsize=10)
        figure.tight_layout()
        figure.savefig(path, dpi=90)
        pyplot.close(figure)


def _draw_group(panel: Any, name: str, group: FittedGroup) -> None:
    """Draws probabilities against shares; the more stand behind a point, the larger it is."""
    panel.plot((0, 1), (0, 1), color='0.7', linewidth=1)
    for figures, label, colour, marker in (
        (group.before, 'T = 1', '#d55e00', 'o'),
        (group.after, f'T = {group.temperature:.2f}', '#0072b2', 's'),
    ):
        means, shares = ([each.mean for each in figures.bins], [each.true for each in figures.bins])
        error = f'{label}: error {figures.error.value:.3f}, Brier {figures.brier.value:.3f}'
        panel.plot(means, shares, color=colour, linewidth=1, label=error)
        sizes = [12 + 160 * (each.count / figures.count) ** 0.5 for each in figures.bins]
        panel.scatter(means, shares, s=sizes, color=colour, marker=marker, alpha=0.6, linewidths=0)
        for each in figures.bins if label == 'T = 1' else ():
            panel.annotate(
                f'{each.count}',
                (each.mean, each.true),
                textcoords='offset points',
                xytext=(7, -11),
                fontsize=7,
            )
    title, axis = GROUPS[name][0], 'probability of yes' if name == 'yes_no' else 'of the best one'
    panel.set(
        xlim=(-0.04, 1.04),
        ylim=(-0.04, 1.04),
        xlabel=f'probability, {axis}' if name != 'yes_no' else axis,
        ylabel='share that is right',
        title=f'{title}, {group.before.count} questions',
    )
    panel.legend(fontsize=7, loc='upper center', bbox_to_anchor=(0.5, -0.14), frameon=False)


def _in_words(interval: Interval) -> str:
    return f'{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})'
