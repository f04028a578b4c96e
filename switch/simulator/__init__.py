"""A FreeSWITCH for the demo and for tests: `switch.simulator.node.SimulatedNode` starts one.

It is started from the directory that `seatline node-config` writes, and speaks SIP, event socket, mod_xml_curl and
mod_json_cdr over real sockets. Where it had a choice, it does what a running FreeSWITCH 1.11 was seen to do.
"""
