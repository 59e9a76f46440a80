"""`unitq ctl`: what supervisorctl's users type."""
