"""Audio backends (-audiodev) and sound devices.

Owns: -audiodev and the sound devices.
May touch: values only.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.audio import Audio, AudioStream
from conf.domain.devices.sound import Sound
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, device
from supervisor.workers.qemu.argv.syntax import Json, json_of

BACKENDS: Final = {"pulseaudio": "pa", "file": "wav"}
DRIVERS: Final = {
    "es1370": "ES1370", "ac97": "AC97", "ich6": "intel-hda", "ich9": "ich9-intel-hda",
    "sb16": "sb16", "usb": "usb-audio",
}  # fmt: skip
CODECS: Final = {"duplex": "hda-duplex", "micro": "hda-micro", "output": "hda-output"}


def backends(context: Context) -> Options:
    """Build an -audiodev for each <audio>."""
    for audio in context.domain.devices.audios:
        yield (
            "-audiodev",
            json_of(
                {
                    "id": f"audio{audio.id}",
                    "driver": BACKENDS.get(audio.type, audio.type),
                    "timer-period": audio.timer_period,
                    **_backend_options(audio),
                    "in": _stream(audio.input),
                    "out": _stream(audio.output),
                }
            ),
        )


def _backend_options(audio: Audio) -> Props:
    """Build the options that only one audio backend has."""
    match audio.type:
        case "oss":
            return {
                "try-mmap": audio.try_mmap,
                "exclusive": audio.exclusive,
                "dsp-policy": audio.dsp_policy,
            }
        case "pulseaudio":
            return {"server": audio.server_name}
        case "file":
            return {"path": audio.path}
        case "sdl":
            return {}
    return {}


def _stream(stream: AudioStream | None) -> dict[str, Json] | None:
    """Build the options of one direction, input or output."""
    if stream is None:
        return None
    settings = stream.settings
    members: Props = {
        "mixing-engine": stream.mixing_engine,
        "fixed-settings": stream.fixed_settings,
        "voices": stream.voices,
        "buffer-length": stream.buffer_length,
        "frequency": settings.frequency if settings else None,
        "channels": settings.channels if settings else None,
        "format": settings.format if settings else None,
        "dev": stream.dev,
        "buffer-count": stream.buffer_count,
        "try-poll": stream.try_poll,
        "server-name": stream.server_name,
        "client-name": stream.client_name,
        "connect-ports": stream.connect_ports,
        "exact-name": stream.exact_name,
        "name": stream.name,
        "stream-name": stream.stream_name,
        "latency": stream.latency,
    }
    present = {name: value for name, value in members.items() if value is not None}
    return present or None


def sounds(context: Context) -> Options:
    """Build the sound devices with their codecs."""
    for sound in context.domain.devices.sounds:
        if sound.model == "pcspk":
            continue  # on-board: `speaker_backend` is a property of the machine
        props: Props = {"driver": DRIVERS[sound.model], "id": sound.alias}
        with_codecs = sound.model in ("ich6", "ich9")
        if not with_codecs:
            props["audiodev"] = audiodev(context, sound.audio_id)
        yield device(props | placed(context, sound.address))
        if with_codecs:
            yield from _codecs(context, sound)


def speaker_backend(context: Context) -> str | None:
    """Name the -audiodev of the PC speaker; QEMU 7.1 removed libvirt's earlier -soundhw."""
    for sound in context.domain.devices.sounds:
        if sound.model == "pcspk":
            return audiodev(context, sound.audio_id)
    return None


def _codecs(context: Context, sound: Sound) -> Options:
    names = [codec.type for codec in sound.codecs] or ["duplex"]
    for number, name in enumerate(names):
        yield device(
            {
                "driver": CODECS[name],
                "id": f"{sound.alias}-codec{number}",
                "bus": f"{sound.alias}.0",
                "cad": number,
                "audiodev": audiodev(context, sound.audio_id),
            }
        )


def audiodev(context: Context, chosen: int | None) -> str | None:
    """Choose the backend that a device plays to: its <audio id=>, else the first."""
    if chosen is not None:
        return f"audio{chosen}"
    audios = context.domain.devices.audios
    return f"audio{audios[0].id}" if audios else None
