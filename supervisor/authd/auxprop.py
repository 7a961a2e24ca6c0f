"""A plugin of libsasl2 before its sasldb: users' properties from memory where they are known.

Owns: the plugin (its C structures, its callbacks), and which mechanism asks in a thread.
May touch: libsasl2's sasldb plugin, which reads the database. May not touch: conversations.
Source: sasl/saslplug.h, sasl/prop.h of Cyrus SASL 2.1.28; its names are kept in comments.

Only sasldb is answered for: other databases of users (LDAP, SQL) are asked each time, and so is
sasldb where anything is not as it is known here.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from supervisor.authd.auxprop_structs import (
    Callback,
    GetOption,
    Info,
    Init,
    Lookup,
    Parameters,
    Plugin,
    PropertyValues,
)
from supervisor.authd.scram_keys import auth_password, scheme_of
from supervisor.authd.user_records import RecordKey, UserRecord, UserRecords

SASL_OK, SASL_FAIL, SASL_BADVERS = 0, -1, -23
SASL_CB_GETOPT, SASL_CB_LIST_END = 1, 0
SASL_INFO_LIST_MECH: Final = 1
SASL_AUXPROP_PLUG_VERSION: Final = 8
SASL_AUXPROP_AUTHZID: Final = 0x02
SASLDB: Final = b"sasldb"
NAME: Final = b"virtvisor-sasldb"  # ours
OPTION: Final = b"auxprop_plugin"  # the plugins to ask, separated by spaces; none: all
DEFAULT_DATABASE: Final = b"/etc/sasldb2"  # SASL_DB_PATH
PASSWORD, AUTH_PASSWORD = b"*userPassword", b"*authPassword"
DEFAULT_ROUNDS, MOST_ROUNDS = 4096, 1_000_000

log = logging.getLogger(__name__)


class AuxpropPlugin:
    """The plugin; one in the process, and never freed: libsasl2 keeps pointers to it."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        """Make it, before libsasl2's server side is initialised with `callbacks`."""
        self._library = loaded
        self._get_option = GetOption(self._option)
        self._init = Init(self._initialise)
        self._lookup = Lookup(self._look_up)
        self.callbacks = (Callback * 2)(
            Callback(SASL_CB_GETOPT, self._get_option, None),
            Callback(SASL_CB_LIST_END, GetOption(), None),
        )
        self._plugin: Plugin
        self._asked: Plugin
        self._records: UserRecords
        self._plugins = b""  # what `OPTION` says; b"": ours is not asked
        self._thread = threading.local()  # .mechanism: that is asked in it

    def install(self) -> None:
        """Come before sasldb, once libsasl2 has loaded its plugins; without sasldb do nothing."""
        try:
            self._bind()
        except AttributeError as error:
            log.info("users' records are read from sasldb each time: %s", error)
            return
        found: list[Plugin] = []

        def note(plugin: ctypes._Pointer[Plugin], stage: int, _: int | None) -> None:
            if stage == SASL_INFO_LIST_MECH and plugin:
                copied = Plugin()
                ctypes.pointer(copied)[0] = plugin.contents
                found.append(copied)

        self._library.auxprop_plugin_info(None, Info(note), None)
        asked = [each for each in found if each.name == SASLDB]
        if len(asked) != 1:
            return
        self._asked = asked[0]
        path = self._config(b"sasldb_path") or DEFAULT_DATABASE
        self._records = UserRecords(Path(path.decode(errors="surrogateescape")))
        self._plugin = Plugin(
            *(0, 0, self._asked.glob_context, None, self._lookup),
            *(NAME, self._asked.auxprop_store),
        )
        if self._library.sasl_auxprop_add_plugin(NAME, self._init) != SASL_OK:
            log.info("users' records are read from sasldb each time: another version of libsasl2")
            return
        self._plugins = plugins_in_turn(self._config(OPTION), [each.name for each in found])

    def _bind(self) -> None:
        """Declare the functions that are called.

        Raises:
            AttributeError: this libsasl2 lacks one.
        """
        loaded = self._library
        loaded.auxprop_plugin_info.restype = ctypes.c_int
        loaded.prop_get.restype = ctypes.POINTER(PropertyValues)
        loaded.prop_get.argtypes = [ctypes.c_void_p]
        loaded.prop_set.argtypes = [
            *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int),
        ]
        loaded.sasl_config_getstring.restype = ctypes.c_char_p

    def note_mechanism(self, name: str) -> None:
        """Note which mechanism is asked next in this thread: it may want users' properties."""
        self._thread.mechanism = name.encode()

    def _config(self, option: bytes) -> bytes | None:
        value: bytes | None = self._library.sasl_config_getstring(option, None)
        return value

    def _rounds(self) -> int:
        """Read how many rounds SCRAM's keys take; 0: it is not known."""
        value = self._config(b"scram_iteration_counter")
        if value is None:
            return DEFAULT_ROUNDS
        rounds = int(value) if value.isdigit() else 0
        return rounds if rounds <= MOST_ROUNDS else 0

    # Called by libsasl2. An error would be taken for success: ctypes returns 0.

    def _initialise(
        self,
        _utils: int | None,
        version: int,
        out_version: ctypes._Pointer[ctypes.c_int],
        plugin: ctypes._Pointer[ctypes._Pointer[Plugin]],
        _name: bytes,
    ) -> int:
        if version != SASL_AUXPROP_PLUG_VERSION:
            return SASL_BADVERS
        out_version[0] = SASL_AUXPROP_PLUG_VERSION
        plugin[0] = ctypes.pointer(self._plugin)
        return SASL_OK

    def _option(
        self,
        _context: int | None,
        plugin: bytes | None,
        option: bytes | None,
        result: ctypes._Pointer[ctypes.c_char_p],
        _length: ctypes._Pointer[ctypes.c_uint],
    ) -> int:
        if option != OPTION or plugin is not None or not self._plugins:
            return SASL_FAIL  # what libvirt.conf says
        result[0] = self._plugins
        return SASL_OK

    def _look_up(
        self,
        context: int | None,
        parameters: ctypes._Pointer[Parameters],
        flags: int,
        user: ctypes._Pointer[ctypes.c_char],
        length: int,
    ) -> int:
        try:
            read = partial(self._asked.auxprop_lookup, context, parameters, flags, user, length)
            return self._answer(parameters.contents, flags, bytes(user[:length]), read)
        except Exception:  # the top of what C calls
            log.exception("a user's record cannot be looked up")
            return SASL_FAIL

    def _answer(
        self, parameters: Parameters, flags: int, user: bytes, read: Callable[[], int]
    ) -> int:
        """Set the properties that are asked for and that the user has."""
        properties = self._asked_for(parameters, flags)
        if properties is None:
            return read()
        key = RecordKey(
            user=user,
            realm=parameters.user_realm or b"",
            host=parameters.server_fqdn or b"",
            flags=flags,
            properties=properties,
            scheme=self._scheme() if AUTH_PASSWORD in properties else b"",
        )
        record = self._records.find(key)
        if record is not None:
            for name, value in record.values:
                self._library.prop_set(parameters.propctx, name, value, len(value))
            return SASL_OK
        before = self._records.stamp()
        result = read()
        if result == SASL_OK and before is not None:
            record = self._with_keys(key.scheme, self._found(parameters, properties))
            if record is not None:
                self._records.keep(key, record, before)
        return result

    def _scheme(self) -> bytes:
        return scheme_of(getattr(self._thread, "mechanism", b""))

    def _asked_for(self, parameters: Parameters, flags: int) -> tuple[bytes, ...] | None:
        """List the properties that sasldb would read; None: it must decide itself."""
        is_authorization = bool(flags & SASL_AUXPROP_AUTHZID)
        names: list[bytes] = []
        for each in _properties(self._library, parameters):
            if each.name.startswith(b"*") == is_authorization:
                continue  # of the other identity
            if each.values:
                return None  # whether it is overridden, sasldb knows
            names.append(each.name)
        return tuple(names) or None

    def _found(
        self, parameters: Parameters, properties: tuple[bytes, ...]
    ) -> dict[bytes, bytes] | None:
        """Return the values that sasldb has set; None: one is not plain text."""
        found: dict[bytes, bytes] = {}
        for each in _properties(self._library, parameters):
            if each.name not in properties or not each.values:
                continue
            value: bytes | None = each.values[0]
            if value is None or each.nvalues != 1 or len(value) != each.valsize:
                return None
            found[each.name] = value
        return found

    def _with_keys(self, scheme: bytes, found: dict[bytes, bytes] | None) -> UserRecord | None:
        """Make the record to keep: SCRAM's keys instead of the password that they are made of."""
        if found is None:
            return None
        password = found.get(PASSWORD)
        if scheme and password and AUTH_PASSWORD not in found:
            rounds = self._rounds()
            if not rounds:
                return None
            found = {AUTH_PASSWORD: auth_password(scheme, password, rounds)}
        return UserRecord(tuple(found.items()))


def _properties(loaded: ctypes.CDLL, parameters: Parameters) -> Iterator[PropertyValues]:
    """Go through what is asked for; a value that is there is set already."""
    array = loaded.prop_get(parameters.propctx)
    place = 0
    while array and array[place].name is not None:
        yield array[place]
        place += 1


def plugins_in_turn(setting: bytes | None, loaded: Iterable[bytes]) -> bytes:
    """Return the plugins to ask in their order, with ours in sasldb's place.

    Args:
        setting: "auxprop_plugin" of libvirt.conf; None: all are asked.
        loaded: the names of all.
    """
    names = loaded if setting is None else setting.split()
    return b" ".join(NAME if name.lower() == SASLDB else name for name in names)
