"""Find wrong labels from one ordinary training run, by gradient-weight alignment.

The public names are declared with their types in `__init__.pyi`, and imported on first use: `gwaudit --help` does not
wait for torch.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, _public_names = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_public_names]
