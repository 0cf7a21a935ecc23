# SPDX-License-Identifier: Apache-2.0
"""One request on its way from what was asked to its answer and the evidence for it.

The pipeline calls `validation`, which completes or refuses a request, has its `images` decoded, and
hands an `answer_job` to the scheduler. The job finds its frames in a `Camera`, prepares them and
generates the text with the `loaded_model`, while an `evidence_builder` writes down what the answer
is based on. A `precompute_job` encodes frames that no request has asked for yet.

Rules ("tell me when ...") are evaluated by a `rule_job`, all of a camera that are due together.
`rule_evaluations` is the part of the pipeline that submits them; a `rule_runner` knows when, and
makes events of what comes back.

Jobs run on the worker thread; `images` are decoded on a thread of their own; `validation` and the
`rule_runner` run on the caller's.
"""
