"""Where replicas come from beside the configuration's own list: sources (`base.ports.Source`), and what is believed of
them. A source gives addresses; how replicas there are spoken to, the configuration says.
"""
