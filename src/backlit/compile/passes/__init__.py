"""Passes over programs: each a function from a program to a program that computes the same, one a file."""
