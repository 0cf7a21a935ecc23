# SPDX-License-Identifier: Apache-2.0
"""What "tell me when ..." means, without ROS or a model: rules, their life cycle, their file.

Read `rule_set`, the front door: it holds the rules, says which are due (`schedule`), takes the
probabilities that somebody else computes and returns the events to publish. `monitor` is the state
machine of one rule on one camera.
`rule` is the value with its checks, `valid_times` when it counts, `event` what comes out.
`rule_store` keeps rules in a YAML file, whose text `rule_text` changes without touching the rest,
and beside it what has to outlive a restart. `darkness` tells whether an image shows anything.

Nothing here has a thread; a RuleSet and a RuleStore may be used on any.
"""
