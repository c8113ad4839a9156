"""Several machines that send one run, over a state in a database."""
