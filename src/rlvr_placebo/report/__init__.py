"""A finished study on one page."""
