"""Whether every call that a node began has told us how it ended: counted per node and hour, gaps reported.

FreeSWITCH numbers the sessions (legs) of one boot from 1 on without a gap. `status` tells how many there were, which no
lost event can change, and every call record carries its number and its boot (`core-uuid`). So the records that are
missing are known one by one, and a record that comes late closes its gap by itself.
"""
