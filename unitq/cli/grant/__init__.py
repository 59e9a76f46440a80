"""`unitq grant`, and the commands that a member of a granted group may type."""
