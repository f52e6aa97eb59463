"""``make bench``: what the overlay costs, next to a bare veth, in one run."""
