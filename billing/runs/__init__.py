"""The monthly run as finance sees it: released, followed while it goes on, taken up again."""
