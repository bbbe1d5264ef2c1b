"""A gateway's process from its start to its end: signals, open files, one worker or several."""

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path

import uvloop

from penstock.config.schema import Settings
from penstock.gateway.build import Gateway, known_secrets
from penstock.gateway.files import raise_open_files
from penstock.gateway.processes.parent import Parent
from penstock.telemetry.logs import set_up

log = logging.getLogger("penstock.gateway")


def serve_forever(
    settings: Settings, read: Callable[[], Settings] | None, file: Path | None, started: Callable[[Settings], None]
) -> None:
    """Run a gateway until SIGTERM or SIGINT. `started` hears the settings with the addresses that are served.

    Raises OSError where an address or a file cannot be had.
    """
    set_up(settings.server.log, secrets=known_secrets(settings))
    raise_open_files(settings.server.limits.connections)
    uvloop.run(_serve(settings, read, file, started))


async def _serve(
    settings: Settings, read: Callable[[], Settings] | None, file: Path | None, started: Callable[[Settings], None]
) -> None:
    gateway = (Gateway if settings.server.workers == 1 else Parent)(settings, read, file)
    await gateway.start()
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    impatient = asyncio.Event()
    reloads: set[asyncio.Task[bool]] = set()

    def stop() -> None:
        (impatient if stopping.is_set() else stopping).set()

    def hang_up() -> None:
        task = loop.create_task(gateway.reloader.try_reload("SIGHUP"))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    started(gateway.bound())
    await stopping.wait()
    log.info("stopping: new requests are refused, answers under way may finish")
    ending = loop.create_task(gateway.stop())
    hurry = loop.create_task(impatient.wait())
    await asyncio.wait({ending, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not ending.done():
        log.warning("a second signal: ending at once")
        ending.cancel()
    elif ending.exception() is not None:
        raise ending.exception() or RuntimeError
