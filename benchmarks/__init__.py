"""zoo against its peers, each pair measured in one run (`python -m benchmarks.run --help`)."""
