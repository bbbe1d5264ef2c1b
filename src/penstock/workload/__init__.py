"""Floor 1: traces of requests, and prompts that stand for them. Pure; knows no gateways, engines or sockets."""
