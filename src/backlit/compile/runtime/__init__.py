"""What a compiled step needs while it runs: threads to share its work with, and a place to keep its code."""
