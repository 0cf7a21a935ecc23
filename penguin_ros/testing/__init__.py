# SPDX-License-Identifier: Apache-2.0
"""What tests use in the place of a trained model: those of this package, and your own.

`scripted_backend.py` is a backend without a network, which answers what a test wants to hear.
`random_checkpoint.py` writes a whole checkpoint with random weights, from `random_weights.py`,
`random_tokenizer.py` and `published_files.py`. Nothing here is reachable through a setting: a test
passes it in. A pipeline that always sees a bear, without a GPU or a download:

    folder = write_random_checkpoint(tmp_path / 'checkpoint')
    config = with_values(PenguinConfig(), {'model.checkpoint': str(folder)})
    see_bears = answering('A bear walks over the ice.')
    pipeline = Pipeline(config, ['front'], now_ns=time.time_ns, backend_factory=see_bears)
    model = pipeline.open()

A test of a node that asks penguin_node starts it so, as a process of its own:

    sys.exit(penguin_ros.ros.node.main.main(backend_factory=see_bears))

The room implements the contract in `backends/base` and reads `checkpoint/`; besides tests, only the
benchmarks import it. The backend runs on the thread that opened it, the worker of a pipeline.
"""
