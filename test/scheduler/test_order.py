# SPDX-License-Identifier: Apache-2.0
"""Rules run between questions and captions, and captions have their share of the time."""

from __future__ import annotations

from support.stepped_jobs import LIVENESS_SECONDS, SteppedScheduler, stepped_scheduler, steps_done

from penguin_ros.errors import RequestReplaced
from penguin_ros.request import Priority
from penguin_ros.scheduler.order import QUANTUM_NS, RuleShare


def test_a_question_preempts_a_rule_and_a_rule_preempts_a_caption() -> None:
    with stepped_scheduler() as stepped:
        stepped.caption('caption')
        stepped.wait('caption?0')
        stepped.rule('rule')
        stepped.stage.permit(1)
        stepped.wait('rule?0')
        stepped.submit('question')
        stepped.stage.open()
        stepped.wait('caption finished')
        assert steps_done(stepped) == [
            'caption:0',
            'rule:0',
            'question:0',
            'question:1',
            'rule:1',
            'caption:1',
        ]
        counts = stepped.scheduler.stats()
        assert (counts.rules_preempted, counts.captions_preempted) == (1, 1)
        assert (counts.rules_finished, counts.captions_finished) == (1, 1)


def test_a_newer_evaluation_replaces_the_one_of_its_camera_that_waits() -> None:
    with stepped_scheduler() as stepped:
        stepped.submit('question')
        stepped.wait('question?0')
        old, other, new = stepped.rule('old'), stepped.rule('other', 'rear'), stepped.rule('new')
        stepped.stage.open()
        stepped.wait('other finished')
        assert isinstance(old.ends[0], RequestReplaced) and new.ends == other.ends == [None]
        assert stepped.scheduler.stats().rules_replaced == 1


def test_a_rule_waits_for_a_caption_that_holds_the_only_slot() -> None:
    with stepped_scheduler(slots=1) as stepped:
        caption = stepped.caption('caption', step_count=3)
        stepped.wait('caption?0')
        rule = stepped.rule('rule')
        stepped.stage.open()
        stepped.wait('rule finished')
        assert caption.ends == rule.ends == [None]
        assert steps_done(stepped)[:3] == ['caption:0', 'caption:1', 'caption:2']


def test_for_a_question_that_finds_no_slot_the_caption_is_given_up_and_not_the_rule() -> None:
    with stepped_scheduler(slots=2) as stepped:
        caption = stepped.caption('caption')
        stepped.wait('caption?0')
        rule = stepped.rule('rule')
        stepped.stage.permit(1)
        stepped.wait('rule?0')
        question = stepped.submit('question')
        stepped.stage.open()
        stepped.wait('rule finished')
        assert isinstance(caption.ends[0], RequestReplaced) and not caption.is_holding
        assert rule.ends == question.ends == [None]


def test_for_a_question_that_finds_the_only_slot_with_a_rule_the_rule_is_given_up() -> None:
    with stepped_scheduler(slots=1) as stepped:
        rule = stepped.rule('rule')
        stepped.wait('rule?0')
        question = stepped.submit('question')
        stepped.stage.open()
        stepped.wait('question finished')
        assert isinstance(rule.ends[0], RequestReplaced) and question.ends == [None]


def test_rules_that_would_take_all_the_time_leave_a_caption_its_share() -> None:
    with stepped_scheduler() as stepped:
        stepped.stage.open()
        stepped.scheduler.set_rule_share(0.75)
        taken = {'rule': 0, 'caption': 0}
        _submit_endless(stepped, 'rule', taken, until=400)
        _submit_endless(stepped, 'caption', taken, until=400)
        assert stepped.scheduler.wait_idle(LIVENESS_SECONDS)
        share = taken['rule'] / 400
        assert abs(share - 0.75) < 0.05, taken


def test_rules_that_may_have_all_the_time_take_it() -> None:
    share = RuleShare(1.0)
    for _ in range(1000):
        share.note_step(Priority.RULE, QUANTUM_NS, has_caption=True)
        assert not share.is_turn_of_captions


def test_time_that_no_caption_wanted_is_not_held_against_rules() -> None:
    share = RuleShare(0.5)
    for _ in range(1000):
        share.note_step(Priority.RULE, QUANTUM_NS, has_caption=False)
    share.note_step(Priority.RULE, QUANTUM_NS, has_caption=True)
    assert not share.is_turn_of_captions


def _submit_endless(
    stepped: SteppedScheduler, kind: str, taken: dict[str, int], until: int
) -> None:
    """Submits a job whose steps take 50 ms each, until both kinds together made so many."""

    def in_step(number: int) -> None:
        stepped.clock.turn(50_000_000)
        taken[kind] += sum(taken.values()) < until

    submit = stepped.rule if kind == 'rule' else stepped.caption
    submit(kind, step_count=until, in_step=in_step)
