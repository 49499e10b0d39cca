"""Imported before `spaces`: where PyTorch was built without CUDA, what `spaces` expects to find in it."""

import torch

if torch.version.cuda is None:
    torch.version.cuda = "13.0"
    torch._C._cuda_init = None
    torch.cuda._is_in_bad_fork = bool  # answers False, and can be pickled
