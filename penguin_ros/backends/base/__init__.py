# SPDX-License-Identifier: Apache-2.0
"""What all backends have in common; no inference library is imported here.

Reading order: `backend` (the contract), `slot_backend` (its implementation but for what a library
computes), `slots` and `input_checks` (which that consists of), `manifest` and `bundle` (the folder
that `penguin build` writes), `embedding_table` and `encoder_tables` (what the graphs of a bundle
are given by the host). Everything runs on the thread that uses the backend.
"""
