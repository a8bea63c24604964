"""Samples in batches: their order, their shares of processes, and who reads them."""
