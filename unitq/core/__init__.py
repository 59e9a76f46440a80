"""Pure decisions: no clock, no disk, no bus, no network, no terminal."""
