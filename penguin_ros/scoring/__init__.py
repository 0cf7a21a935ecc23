# SPDX-License-Identifier: Apache-2.0
"""How probable each of some answers to a question is, read from the logits of their tokens; no text
is sampled or parsed.

Read `scorer` first: jobs call it on the worker thread, with questions about one clip. It asks
`outcomes` which token sequences stand for which answer, lets `generation/branches` read them, and
gives `choice_score`, a value with the formulas. `bias` makes the grey clip whose answers are
subtracted.
"""
