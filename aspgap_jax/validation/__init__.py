"""How good the labels are: numbers against a truth."""
