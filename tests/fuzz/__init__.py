"""Fuzzing: hostile input for whatever reads what others wrote (docs/decisions/fuzzing.md)."""
