"""Faults and planned maintenance: what a seat could not be used for, and what the next invoice credits (C11, C12)."""
