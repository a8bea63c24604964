"""What each verb does, from start to end: one module a verb."""
