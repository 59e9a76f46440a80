"""What `unitq status` knows of an app: instances, code, rollouts, drop-ins, queues, jobs."""
