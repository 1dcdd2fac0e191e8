"""A compiled step for people: as readable loops, as a plan of memory and work, and as measured time."""
