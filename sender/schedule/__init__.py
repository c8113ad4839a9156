"""When campaigns begin: the wait for a start, campaigns on a schedule, and what monitoring gets to know of them."""
