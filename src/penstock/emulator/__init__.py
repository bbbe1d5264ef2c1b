"""Floor 5: a body without a GPU. An OpenAI-compatible server around a Batcher that behaves like a vLLM.

    app       the paths: wires everything below into one Starlette app
    wire      what clients send: bodies, their checks, errors in vLLM's shape
    openai, responses, messages, pooling, tokens     one file an API: its shapes, streamed and whole
    replies   runs a request on the replica and sends what comes; a client that leaves frees the engine
    replica   the Batcher and its pump, and who waits for which sequence
    text      tokenizer, answers and embeddings, all made from the request alone
    metrics   the Batcher's counters under vLLM's names
    faults, sabotage     what can be made to go wrong, and the layer that does it
    serve     several emulators in one process, each on its port

It may know the engine and the pump; it knows nothing of the gateway.
"""
