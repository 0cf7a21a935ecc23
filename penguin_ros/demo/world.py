# SPDX-License-Identifier: Apache-2.0
"""The demo in a simulated world: captions beside the truth, and one question whose right answer is
known.

The truth comes from the ground truth of the camera. Scenes are drawn here only to find what is true
about a part of one.
"""

from __future__ import annotations

from typing import Any

from penguin_ros.console import print_line, status_line
from penguin_ros.demo.row import ShownCaption, print_row
from penguin_ros.demo.rules import RuleWatch
from penguin_ros.demo.sheet import SCENES, Sheet
from penguin_ros.demo.watch import DemoTopics, DemoWatch
from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.ros.client.question_client import AskedQuestion
from penguin_ros.ros.client.session import Session
from penguin_ros.simulation import words
from penguin_ros.simulation.ground_truth import GroundTruth, from_json
from penguin_ros.simulation.language import caption as true_caption
from penguin_ros.simulation.language import facts, parse_caption
from penguin_ros.simulation.questions import QuestionAnswer
from penguin_ros.simulation.scoring import score_answer, score_caption
from penguin_ros.simulation.world import World

KEPT_TRUTHS = 64
SLACK_NS = NANOSECONDS // 4
"""A clip may begin and end that far inside a scene and still show all of it."""
KINDS = ('motion', 'position', 'order', 'colour', 'shape', 'count', 'changed', 'yes_no')
"""Kinds of questions, the most telling first."""


class WorldWatch(DemoWatch):
    """Compares captions with the truth. `shown` has one caption per scene, the first that saw all
    of it; `others` counts the captions that saw a part of a scene, `repeated` those of a scene that
    was captioned before; `rules` compares what the node's rules tell.
    """

    def __init__(
        self, session: Session, topics: DemoTopics, question: str, truth_topic: str, world: World
    ) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from std_msgs.msg import String

        super().__init__(session, topics, question)
        self.shown: dict[int, ShownCaption] = {}
        self.others = 0
        self.repeated = 0
        self._asked: tuple[GroundTruth, str, str] | None = None
        """What the question is about, the question, and its right answer."""
        self._truths: dict[int, GroundTruth] = {}
        self._drawn: dict[int, bytes] = {}
        """The images of the sheet, which outlive the newest KEPT_IMAGES."""
        self._world = world
        self.rules = RuleWatch(session.node, topics.node_name, world, self._truths)
        session.node.create_subscription(
            String,
            truth_topic,
            self._on_truth,
            QoSProfile(depth=16, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        )

    def is_ready(self) -> bool:
        """Whether a whole scene was captioned."""
        return bool(self.shown)

    def chosen_question(self) -> AskedQuestion:
        """The question about the scene that was captioned last: the user's own, or one whose answer
        can be seen.
        """
        truth = self._truths[max(self.shown)]
        known = sorted((item for item in truth.questions if item.kind in KINDS), key=_telling)
        if self.question:
            known = [item for item in truth.questions if item.question == self.question]
        question = known[0].question if known else self.question or 'What is there?'
        self._asked = truth, question, known[0].answer if known else ''
        return AskedQuestion(question, interval_ns=(truth.start_ns, truth.end_ns))

    def show_caption(self, caption: Any) -> None:
        """Prints one row per scene. A caption that saw a part of a scene, or one of a scene that
        was captioned before, is only counted.
        """
        if caption.error_code:
            status_line(f'caption: {caption.error_message}')
            return
        truth = self._scene_of(caption)
        if truth is None:
            self.others += 1
            return
        if truth.number in self.shown:
            self.repeated += 1
            return
        shown = self._compared(caption, truth)
        self.shown[truth.number] = shown
        if len(self.shown) <= SCENES:
            self._drawn |= {
                stamp: self.images[stamp] for stamp in shown.stamps_ns if stamp in self.images
            }
        print_row(shown)

    def show_answer(self) -> None:
        """Prints the facts about the answer and whether it is right."""
        super().show_answer()
        if self.is_answered:
            print_line(f'   {self.answer_verdict()}')

    def answer_verdict(self) -> str:
        """Says whether the answer is right."""
        assert self._asked is not None
        right_answer = self._asked[2]
        if not right_answer:
            return "not one of the scene's questions: not checked"
        verdict = 'RIGHT' if score_answer(self.answer.text, right_answer) else 'WRONG'
        return f'{verdict}: the truth is “{right_answer}”'

    @property
    def is_complete(self) -> bool:
        """Whether a whole scene was captioned and the question answered, both without error."""
        return bool(self.shown) and self.is_answered

    def facts_line(self) -> str:
        """Says how many facts of all scenes were told correctly."""
        scores = [shown.score for shown in self.shown.values()]
        right, claimed, wanted = (
            sum(getattr(score, name) for score in scores) for name in ('right', 'claimed', 'wanted')
        )
        return (
            f'{len(scores)} scenes described: of {claimed} facts told {right} are right'
            f'{_percent(right, claimed)}, of {wanted} true facts {right} were told'
            f'{_percent(right, wanted)}'
        )

    def print_summary(self) -> None:
        """Prints the counts of facts over all scenes, then those of every demo."""
        print_line(
            f'{self.facts_line()}; {self.others} captions saw only a part of a scene and are not '
            f'counted, {self.repeated} were of a scene described before'
        )
        if self.rules.firings:
            print_line(self.rules.summary())
        super().print_summary()

    def sheet(self) -> Sheet:
        """The image that the demo leaves."""
        evidence = self.captions[-1].evidence
        model = f'{evidence.model_name} ({evidence.precision}, {evidence.backend})'
        title = f'penguin_ros: captions of a simulated world by {model}'
        footer = [('in all', self.facts_line())]
        if self._asked is not None and self.is_answered:
            truth, question, _ = self._asked
            footer += [
                ('asked', f'about scene {truth.number + 1}: {question}'),
                ('answer', self.answer.text),
                ('', self.answer_verdict()),
            ]
        return Sheet(
            title, [self.shown[number] for number in sorted(self.shown)], self._drawn, footer
        )

    def _show_new(self) -> None:
        super()._show_new()
        self.rules.show_new()

    def _on_truth(self, message: Any) -> None:
        truth = from_json(message.data)
        self._truths[truth.number] = truth
        while len(self._truths) > KEPT_TRUTHS:
            del self._truths[min(self._truths)]

    def _scene_of(self, caption: Any) -> GroundTruth | None:
        """The scene that the clip of a caption shows all of; None when there is none."""
        start_ns = to_nanoseconds(caption.evidence.start)
        end_ns = to_nanoseconds(caption.evidence.end)
        return next(
            (
                truth
                for truth in self._truths.values()
                if truth.holds(start_ns, end_ns)
                and start_ns - truth.start_ns <= SLACK_NS
                and truth.end_ns - end_ns <= SLACK_NS
            ),
            None,
        )

    def _compared(self, caption: Any, truth: GroundTruth) -> ShownCaption:
        """Compares a caption with the truth of exactly the time that its frames cover."""
        evidence = caption.evidence
        seen = truth.truth_between(
            self._world, to_nanoseconds(evidence.start), to_nanoseconds(evidence.end)
        )
        claimed, wanted = _claims(caption.text), facts(seen).claims()
        return ShownCaption(
            truth.number,
            ' '.join(caption.text.split()),
            true_caption(seen),
            tuple(to_nanoseconds(frame.stamp) for frame in evidence.frames),
            score_caption(caption.text, seen),
            claimed & wanted,
            claimed - wanted,
            wanted - claimed,
        )


def _telling(item: QuestionAnswer) -> tuple[bool, int]:
    """Sorts questions by how telling they are; that something stands still comes last."""
    return item.answer == words.DOES['still'], KINDS.index(item.kind)


def _claims(text: str) -> frozenset[tuple[object, ...]]:
    found = parse_caption(text)
    return found.claims() if found is not None else frozenset()


def _percent(part: int, whole: int) -> str:
    return f' ({100 * part / whole:.0f} %)' if whole else ''
