"""The intermediate representation: programs, the elementwise functions they are made of, and their plain meaning."""
