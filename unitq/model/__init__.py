"""What unitq manages, as frozen values: apps, workers, instances, their names and paths. Pure."""
