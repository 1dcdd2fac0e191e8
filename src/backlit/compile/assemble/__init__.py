"""From a program to one native function: the order of its loops, places in memory, and the calls between."""
