"""A contract over time: versions of its terms, renewal, end, transfer (C14-C17)."""
