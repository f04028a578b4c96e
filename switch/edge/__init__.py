"""SIP edges in front of the nodes: which there are, what they and the DNS must know of the placement."""
