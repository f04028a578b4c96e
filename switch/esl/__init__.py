"""The event socket: commands to FreeSWITCH nodes and the events they send (see `client`, `link`, `frames`)."""
