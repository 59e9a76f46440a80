"""The case that unitq exists for, live: `script/demo`."""
