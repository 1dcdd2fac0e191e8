"""Networks, data and training runs: what is sick about them, with evidence, and pictures."""
