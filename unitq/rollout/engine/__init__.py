"""The decisions of a rollout: what to do next, to which instance. Pure; time comes from outside."""
