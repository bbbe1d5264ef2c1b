"""The gateway: a body for the Gate. Sockets on both sides, admin API, reload; decides nothing about calls itself."""
