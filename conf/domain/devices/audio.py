"""<audio>: what the host does with a guest's sound.

Source: libvirt 9.0 formatdomain, "Audio backends".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from conf.mapper import When, attribute, child, element
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import int_unsigned, uint, uint_positive

TYPES = one_of(
    "none", "alsa", "coreaudio", "jack", "oss", "pulseaudio", "sdl", "spice", "file", "dbus"
)


#: The backends that an attribute of <audio>, or of <input> and <output>, belongs to.
BACKEND_ATTRIBUTES: Final = {
    "server_name": ("pulseaudio",),
    "driver": ("sdl",),
    "path": ("file",),
    "try_mmap": ("oss",),
    "exclusive": ("oss",),
    "dsp_policy": ("oss",),
}
STREAM_ATTRIBUTES: Final = {
    "dev": ("alsa", "oss"),
    "try_poll": ("oss",),
    "buffer_count": ("coreaudio", "oss", "sdl"),
    "name": ("pulseaudio",),
    "stream_name": ("pulseaudio",),
    "latency": ("pulseaudio",),
    "server_name": ("jack",),
    "client_name": ("jack",),
    "connect_ports": ("jack",),
    "exact_name": ("jack",),
}


@element("settings")
@dataclass(slots=True, kw_only=True)
class AudioSettings:
    """<settings>: a fixed format."""

    frequency: int | None = attribute("@frequency", read=uint_positive)
    channels: int | None = attribute("@channels", read=uint_positive)
    format: str | None = attribute(
        "@format", read=one_of("s8", "u8", "s16", "u16", "s32", "u32", "f32")
    )


@element("input", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class AudioStream:
    """<input>, <output>."""

    mixing_engine: bool | None = attribute("@mixingEngine", read=yes_no)
    fixed_settings: bool | None = attribute("@fixedSettings", read=yes_no)
    voices: int | None = attribute("@voices", read=uint_positive)
    buffer_length: int | None = attribute("@bufferLength", read=uint_positive)
    dev: str | None = attribute("@dev")
    buffer_count: int | None = attribute("@bufferCount", read=uint, omit=0)
    try_poll: bool | None = attribute("@tryPoll", read=yes_no)
    name: str | None = attribute("@name")
    stream_name: str | None = attribute("@streamName")
    latency: int | None = attribute("@latency", read=uint, omit=0)
    server_name: str | None = attribute("@serverName")
    client_name: str | None = attribute("@clientName")
    connect_ports: str | None = attribute("@connectPorts")
    exact_name: bool | None = attribute("@exactName", read=yes_no)
    settings: AudioSettings | None = child("settings", AudioSettings)


@element("audio")
@dataclass(slots=True, kw_only=True)
class Audio:
    """<audio>."""

    id: int = attribute("@id", read=uint_positive, default=0, required=True)
    type: str = attribute("@type", read=TYPES, default="", required=True)
    timer_period: int | None = attribute("@timerPeriod", read=uint_positive)
    server_name: str | None = attribute("@serverName")
    driver: str | None = attribute(
        "@driver", read=one_of("esd", "alsa", "arts", "pulseaudio"), when=When("type", ("sdl",))
    )
    path: str | None = attribute("@path")
    try_mmap: bool | None = attribute("@tryMMap", read=yes_no)
    exclusive: bool | None = attribute("@exclusive", read=yes_no)
    dsp_policy: int | None = attribute("@dspPolicy", read=int_unsigned)
    input: AudioStream | None = child("input", AudioStream)
    output: AudioStream | None = child("output", AudioStream)

    def after_read(self) -> None:
        """Drop the attributes of other backends."""
        _keep(self, BACKEND_ATTRIBUTES, self.type)
        for stream in (self.input, self.output):
            if stream is not None:
                _keep(stream, STREAM_ATTRIBUTES, self.type)
                if stream.fixed_settings and stream.settings is None:
                    stream.settings = AudioSettings()


def _keep(model: object, attributes: Mapping[str, tuple[str, ...]], backend: str) -> None:
    """Drop the attributes that belong to backends, but not to this one."""
    for name, backends in attributes.items():
        if backend not in backends:
            setattr(model, name, None)
