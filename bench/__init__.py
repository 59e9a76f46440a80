"""How fast unitq is, against the goals in docs/measured.md: `bench/run`."""
