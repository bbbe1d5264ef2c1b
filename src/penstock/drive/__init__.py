"""Floor 2, the drive: what turns machines. A pump on asyncio, a kernel on virtual time, the journal that both write.

It is generic over facts and orders: it knows the shape of a machine and nothing of what one decides.
"""
