"""Measures what a module's linear operators see and cause on sample inputs. Needs PyTorch.

    config        what a caller gives: batches, how to pick inputs from them, what differences mean
    batches       what of each batch goes into the module
    running       one run of the module, as it is used for inference
    outputs       a run's results as a list of tensors
    detection     which divergence fits a module's outputs
    divergence    how far outputs are from others
    model         a module with its batches and its score
    interception  finds the linear operators while the module runs
    sensitivity   moments of their inputs, and how much the outputs depend on theirs
    lockstep      all batches side by side, operator by operator, while weights change
    pausing       functions that run in threads of their own and pause

A batch is one call of the module: a tensor, a tuple or list of positional arguments, or a mapping
of keyword arguments.
"""
