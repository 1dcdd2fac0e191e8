"""The doctor: what is wrong with a run, in order of likelihood."""
