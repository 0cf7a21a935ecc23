# SPDX-License-Identifier: Apache-2.0
"""Speculative decoding without a draft model: several tokens are guessed and verified in one pass.

Read `drafter` (how long a draft pays), then `prompt_lookup` (where guesses come from), then
`draft_history` (acceptance rates, costs of passes, last texts). `generate` asks for a draft before
each decode step and reports what came of it; everything runs on the worker thread. No draft changes
a token.
"""
