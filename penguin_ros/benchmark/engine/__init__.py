# SPDX-License-Identifier: Apache-2.0
"""`penguin bench engine`: first token, decoding, bandwidth and memory of a bundle or checkpoint,
and how far it agrees with another one.

Read `tasks` (values), `rounds` (targets take turns, each round in a process), `measures` (one
round), `model` (opening a target) with `weights` (bytes that a token reads), `answer_arrays` (what
targets are compared by), `figures` and `agreement_figures` (numbers with the words that say how
they were measured), and `report`. `cli/bench_engine` and `doctor/engine_checks` call this folder.
"""
