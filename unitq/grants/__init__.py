"""Deploys without root: accounts that may start some of unitq's commands as units of root's."""
