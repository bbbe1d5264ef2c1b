"""Penstock: one endpoint in front of many LLM replicas.

Three machines decide, two pumps turn them. A *machine* is a plain synchronous object that is told facts and answers
with orders (`base.machine`): the Gate decides about calls (`core`), the Batcher is an engine replica (`engine`). A
*pump* feeds a machine and performs its orders: on asyncio with real sockets, or on a heap of virtual time (`drive`).
So the same decision code serves live traffic and runs in simulation.

Floors, each importing only lower ones: base; core, engine, workload; drive; adapters, telemetry, and the library
`cache`; config; gateway, emulator, loadgen; cli. `tests/tidy` enforces them.
"""

__version__ = "0.1.0"
