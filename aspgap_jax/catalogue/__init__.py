"""What prediction writes: parts, and the catalogue made of them."""
