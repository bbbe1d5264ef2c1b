"""Floor 5: the load generator. Replays traces against any OpenAI endpoint and measures what its users would feel.

`traces` opens files, `client` speaks HTTP (`wire` frames it, `exchange` times one answer, `sse` and `answer` read it),
`run` decides when to send, `tally` counts, `report` tells. Knows workload and base; knows nothing of the gateway, which
it must measure from outside like anybody else.
"""
