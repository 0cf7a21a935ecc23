# SPDX-License-Identifier: Apache-2.0
"""Is it right? Agreement with the reference implementation, of two runs, and with a known truth.

Read `agreement` first: every comparison is made of its measures. Then parity: `golden` (files of
the reference's values), `parity_inputs` and `parity` (running a case), `stage_results` (how a stage
is judged), `parity_report`. Then scores: `offline` (a pipeline for recordings), `score` (questions
about simulated scenes), `score_report`, and `simulation_model` (the small model that is included).

The verbs `parity`, `score` and `caption` call this room, `benchmark/` uses its `agreement`, and
`demo/` its `simulation_model`. Everything runs on the caller's thread; only the pipeline of
`offline` has its worker thread.
"""
