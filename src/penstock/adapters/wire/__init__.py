"""HTTP/1.1 as bytes: heads, body framing, server-sent events. Pure: bytes in, facts or bytes out; no sockets."""
