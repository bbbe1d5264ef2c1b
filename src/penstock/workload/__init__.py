"""Floor 1: traces of requests and the prompts that stand for them. Pure; knows nothing of gateways, engines or sockets."""
