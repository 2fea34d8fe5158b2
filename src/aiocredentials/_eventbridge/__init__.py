"""The parts of `aiocredentials.eventbridge`: events, the queue's URL, what the pool holds."""
