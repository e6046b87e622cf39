"""Training of the network that tells the contrast of a series from its pixels."""
