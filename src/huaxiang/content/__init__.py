"""What items are like, as vectors: `text_vectors` of their titles.

The only room that knows the encoders; it sees texts, never customers.
"""
