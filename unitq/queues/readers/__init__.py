"""How each framework keeps its queues in Redis: a module for each layout of keys."""
