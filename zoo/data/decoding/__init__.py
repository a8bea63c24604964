"""From the bytes of an image file to 8-bit RGB: which formats are read, what Pillow has to be told, and how values are scaled."""
