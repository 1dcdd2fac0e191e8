"""What a compiled step needs while it runs: its memory and addresses, threads, and a place to keep its code."""
