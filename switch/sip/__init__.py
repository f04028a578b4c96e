"""A small real SIP over UDP, TCP and TLS.

`message`, `uri`, `sdp` and `digest` are the formats, `endpoint` and `transactions` the wire, `phone` and
`carrier` who uses it: the canary, the demo, the simulator and the tests.
"""
