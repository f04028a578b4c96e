"""Examines a node: what it says of itself against what we expect of it, each finding with advice."""
