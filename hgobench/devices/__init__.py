"""A scenario on devices that exist, whoever carries the messages between them and the server.

`worker` is a device's side, with NumPy alone, `byzantine` what one does that attacks, `server` the
server's side: rounds that are driven by replies, decided by the code that the simulation runs, and
kept one by one (`log`), so that a run can be replayed and goes on after a restart.
"""
