"""What refsgd costs as users pay it: the time of an epoch over that of PyTorch's Adam on the same network.

    python asv_bench/epoch_cost.py                  a minute or two

An epoch is 8,000 samples of 784 features through 784-120-10 (tanh), generated: time does not depend on what they
show. It has gradients, second gradients of the same minibatch, and steps. Both optimisers take turns epoch by
epoch; the first is left out, as it has the start of 10 minibatches. Times are medians, with one thread. Adam is
PyTorch's fused one.

NumPy: gradients in plain NumPy for both, Adam on the flat vector. PyTorch: `torch.nn.Sequential` for both, with
`refsgd.adapters.torch.VSGD`.
"""
