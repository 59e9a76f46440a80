"""One property of many units at once.

pystemd waits for each answer before it asks the next question: 50 µs on an idle machine, several
times that on a busy one, and `status` asks a question per instance. libsystemd itself can send all
of them first (sd_bus_call_async(3)): 1,000 answers in 25 ms. pystemd does not offer that, so here
are the few functions of libsystemd that it takes, by ctypes. Reads only; none is variadic.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_char, c_char_p, c_int, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import TYPE_CHECKING, Any

from unitq.errors import SystemdError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVICE = b"org.freedesktop.systemd1"
_PROPERTIES = b"org.freedesktop.DBus.Properties"
_ANSWER = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)
_SECONDS = 25


def numbers(
    addresses: list[str], paths: Mapping[str, bytes], interface: bytes, name: bytes, *, user: bool
) -> dict[str, int]:
    """An unsigned 32-bit property of each unit, given their object paths.

    Units that do not answer are left out. `addresses` are sockets to try before the bus. Raises
    SystemdError where there is no connection or it breaks.
    """
    lib = _library()
    bus = _open(lib, addresses, user=user)
    values: dict[int, int] = {}
    answered: list[int] = []

    def note(message: int, index: int | None, error: int) -> int:  # noqa: ARG001
        value = c_uint32()
        if (
            not lib.sd_bus_message_is_method_error(message, None)
            and lib.sd_bus_message_enter_container(message, b"v", b"u") > 0
            and lib.sd_bus_message_read_basic(message, b"u", byref(value)) > 0
        ):
            values[index or 0] = value.value
        answered.append(index or 0)
        return 1

    callback = _ANSWER(note)  # must outlive the last answer
    try:
        for index, path in enumerate(paths.values()):
            _ask(lib, bus, path, (interface, name), callback, index)
        while len(answered) < len(paths):
            _check(lib.sd_bus_wait(bus, _SECONDS * 1_000_000), "waiting")
            while _check(lib.sd_bus_process(bus, None), "reading") > 0:
                pass
    finally:
        lib.sd_bus_close(bus)
        lib.sd_bus_unref(bus)
    units = list(paths)
    return {units[index]: value for index, value in values.items()}


def _ask(
    lib: Any, bus: c_void_p, path: bytes, wanted: tuple[bytes, bytes], callback: Any, index: int
) -> None:
    message = c_void_p()
    _check(
        lib.sd_bus_message_new_method_call(
            bus, byref(message), _SERVICE, path, _PROPERTIES, b"Get"
        ),
        "asking",
    )
    for word in wanted:
        _check(lib.sd_bus_message_append_basic(message, b"s", word), "asking")
    _check(lib.sd_bus_call_async(bus, None, message, callback, c_void_p(index), 0), "asking")
    lib.sd_bus_message_unref(message)


def _open(lib: Any, addresses: list[str], *, user: bool) -> c_void_p:
    bus = c_void_p()
    for address in addresses:
        if not os.access(address, os.W_OK):
            continue
        _check(lib.sd_bus_new(byref(bus)), "connecting")
        lib.sd_bus_set_address(bus, b"unix:path=" + address.encode())
        if lib.sd_bus_start(bus) >= 0:
            return bus
        lib.sd_bus_unref(bus)
    opened = lib.sd_bus_open_user(byref(bus)) if user else lib.sd_bus_open_system(byref(bus))
    _check(opened, "connecting")
    return bus


def _check(result: int, doing: str) -> int:
    if result < 0:
        raise SystemdError(f"systemd: {doing}: {os.strerror(-result)}")
    return result


@cache
def _library() -> Any:
    # The very library that pystemd is linked to.
    lib = ctypes.CDLL("libsystemd.so.0")
    pointer, text = c_void_p, c_char_p
    for name, arguments in {
        "sd_bus_new": (pointer,),
        "sd_bus_set_address": (pointer, text),
        "sd_bus_start": (pointer,),
        "sd_bus_open_system": (pointer,),
        "sd_bus_open_user": (pointer,),
        "sd_bus_message_new_method_call": (pointer, pointer, text, text, text, text),
        "sd_bus_message_append_basic": (pointer, c_char, text),
        "sd_bus_call_async": (pointer, pointer, pointer, _ANSWER, pointer, c_uint64),
        "sd_bus_message_is_method_error": (pointer, text),
        "sd_bus_message_enter_container": (pointer, c_char, text),
        "sd_bus_message_read_basic": (pointer, c_char, pointer),
        "sd_bus_process": (pointer, pointer),
        "sd_bus_wait": (pointer, c_uint64),
    }.items():
        function = getattr(lib, name)
        function.argtypes, function.restype = arguments, c_int
    for name in ("sd_bus_message_unref", "sd_bus_unref"):
        function = getattr(lib, name)
        function.argtypes, function.restype = (pointer,), pointer
    lib.sd_bus_close.argtypes, lib.sd_bus_close.restype = (pointer,), None
    return lib
