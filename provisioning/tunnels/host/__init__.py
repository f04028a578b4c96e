"""The program on the VPN gateway's host: asks the API whom to let in, applies it, reports what they carry."""
