"""From the bytes of a file to an 8-bit RGB image, or to samples of audio: which formats are read, what Pillow and libsndfile have to be
told, and how values are scaled."""
