# SPDX-License-Identifier: Apache-2.0
"""One worker thread owns the backend and runs jobs step by step: questions first, then rules, then
captions, which are preempted and resumed, everything cancellable, each job ended exactly once.

Read `job` (what a job is, what preemption means), then `order` (turns of cameras, the share of
rules) and `job_queue` (which job is next, how jobs end), then `scheduler` (the worker thread and
its callers). The pipeline submits and cancels on
executor threads; jobs run on the worker thread. No model and no request is known here.
"""
