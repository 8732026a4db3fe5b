"""``python -m aspgap_jax`` is ``aspgap``."""

import sys

from aspgap_jax.start import main

if __name__ == "__main__":
    sys.exit(main())
