"""How a Kubernetes API server is spoken to, for actuators and sources of replicas: who we are there, one session of
requests, and lists that are kept up by watching.
"""
