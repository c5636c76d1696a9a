"""Symptoms and findings in words: the kind text."""
