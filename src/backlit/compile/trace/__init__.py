"""From a function that runs to a program: what is watched while it runs, and how it is written down."""
