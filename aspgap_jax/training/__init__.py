"""The objective (eq. 2-4) and how it is minimised."""
