"""A list of people as columns of text: which column means what, whatever file it comes from."""
