"""The daily spend cap: what a tenant's calls of today cost so far, the warning before the cap, and the bar at it."""
