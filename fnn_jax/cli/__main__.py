"""``python -m fnn_jax.cli``."""

import sys

from fnn_jax.cli import main

sys.exit(main())
