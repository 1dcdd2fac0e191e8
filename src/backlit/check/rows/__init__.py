"""What the rows of data show: one rule a fault, for :func:`backlit.check.data` and for the doctor alike."""
