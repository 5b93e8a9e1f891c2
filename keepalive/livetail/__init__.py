"""A live tail that does not end and does not lie: the stream of one target, with its gaps filled or named."""
