"""How fast unitq is, against the goals in docs/design.md: `bench/run`."""
