"""Who starts and stops replicas (`base.ports.Actuator`). Each obeys orders and says what there is; how many there
should be is decided elsewhere.
"""
