# SPDX-License-Identifier: Apache-2.0
"""Reads a published checkpoint: its configuration, its tensors in either layout, its tokenizer.

Begin with `checkpoint.py`, whose `open_checkpoint` checks everything at once. It uses `hub.py` (an
id becomes a folder), `configuration.py` (JSON files become the numbers in `shapes.py`),
`tensors.py` (weights under the names of `tensor_names.py`) and `tokenizer.py`. `json_file.py`,
`safetensors_file.py` and `weight_files.py` each know one kind of file.

No inference library is imported, none of a repository's code runs, and weights are read only when
somebody asks for them. The preprocessing, the backends, the export and the tests call this room,
mostly on the worker thread of a pipeline; nothing here keeps a thread, except for the lines of
progress during a download.
"""
