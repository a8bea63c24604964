"""What is in some data, and what is wrong with it: measured, found, and shown on a page."""
