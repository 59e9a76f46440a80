"""Redis, and what queue frameworks keep there. The only room that knows either.

It reads; only prune.py and requeue.py write.
"""
