"""`seatline demo` and `seatline up`: the whole way on real parts, told step by step."""
