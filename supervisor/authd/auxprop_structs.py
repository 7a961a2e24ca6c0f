"""C structures of libsasl2 that a plugin for users' properties (auxprop) is called with.

Owns: their layout. May not touch: libsasl2.
Source: sasl/sasl.h, sasl/saslplug.h, sasl/prop.h of Cyrus SASL 2.1.28, whose library keeps them
within its name libsasl2.so.2; its names are kept in comments.
"""

from __future__ import annotations

import ctypes

GetOption = ctypes.CFUNCTYPE(  # sasl_getopt_t
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.POINTER(ctypes.c_uint),
)


class Callback(ctypes.Structure):
    """sasl_callback_t."""

    _fields_ = (("id", ctypes.c_ulong), ("proc", GetOption), ("context", ctypes.c_void_p))


class Parameters(ctypes.Structure):
    """sasl_server_params_t, as far as it is read."""

    _fields_ = (
        ("service", ctypes.c_char_p),
        ("appname", ctypes.c_char_p),
        ("server_fqdn", ctypes.c_char_p),
        ("user_realm", ctypes.c_char_p),
        ("iplocalport", ctypes.c_void_p),
        ("ipremoteport", ctypes.c_void_p),
        ("lengths", ctypes.c_uint * 6),
        ("log_level", ctypes.c_int),
        ("utils", ctypes.c_void_p),
        ("callbacks", ctypes.c_void_p),
        ("props", ctypes.c_uint * 4),  # sasl_security_properties_t …
        ("props_names", ctypes.c_void_p * 2),
        ("external_ssf", ctypes.c_uint),
        ("transition", ctypes.c_void_p),
        ("canon_user", ctypes.c_void_p),
        ("propctx", ctypes.c_void_p),
    )


class PropertyValues(ctypes.Structure):
    """struct propval."""

    _fields_ = (
        ("name", ctypes.c_char_p),  # None: the end of the list
        ("values", ctypes.POINTER(ctypes.c_char_p)),  # NULL: it is not there
        ("nvalues", ctypes.c_uint),
        ("valsize", ctypes.c_uint),
    )


Lookup = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.POINTER(Parameters),
    ctypes.c_uint,
    ctypes.POINTER(ctypes.c_char),
    ctypes.c_uint,
)


class Plugin(ctypes.Structure):
    """sasl_auxprop_plug_t."""

    _fields_ = (
        ("features", ctypes.c_int),
        ("spare_int1", ctypes.c_int),
        ("glob_context", ctypes.c_void_p),
        ("auxprop_free", ctypes.c_void_p),
        ("auxprop_lookup", Lookup),
        ("name", ctypes.c_char_p),
        ("auxprop_store", ctypes.c_void_p),
    )


Init = ctypes.CFUNCTYPE(  # sasl_auxprop_init_t
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_int),
    ctypes.POINTER(ctypes.POINTER(Plugin)),
    ctypes.c_char_p,
)
Info = ctypes.CFUNCTYPE(None, ctypes.POINTER(Plugin), ctypes.c_int, ctypes.c_void_p)
