"""What an inert part of a network gives, computed once and read in the place of samples."""
