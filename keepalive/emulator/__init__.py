"""A local Cloudflare with the real semantics and faults on demand; it never imports the client it tests."""

from keepalive.emulator.alone import run_alone
from keepalive.emulator.call import Arrival, Route
from keepalive.emulator.fault_file import read_faults
from keepalive.emulator.faults import Fault, FaultKind, Faults
from keepalive.emulator.quota import Quota
from keepalive.emulator.server import Emulator
from keepalive.emulator.standing import Place, Tally
from keepalive.emulator.world import Credential, TokenStatus, User, World

__all__ = [
    "Arrival",
    "Credential",
    "Emulator",
    "Fault",
    "FaultKind",
    "Faults",
    "Place",
    "Quota",
    "Route",
    "Tally",
    "TokenStatus",
    "User",
    "World",
    "read_faults",
    "run_alone",
]
