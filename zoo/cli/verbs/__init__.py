"""One module a verb: its function parses nothing and decides nothing; it calls `zoo.api` and hands back an `Output`."""
