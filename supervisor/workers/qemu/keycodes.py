"""Key codes: from libvirt's code sets (virKeycodeSet) to QEMU's ("qnum").

Owns: the table, for the keys of a PC's keyboard and its common media keys. Pure.
Source: linux/input-event-codes.h, the USB HID usage tables (page 7), Windows' virtual key codes,
Apple's virtual key codes, the AT keyboard's scan code sets 1 to 3. A qnum is set 1's code, with
bit 7 set where set 1 has the prefix 0xe0.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from rpc.enums import KeycodeSet

#: name, Linux, qnum, then in hexadecimal: USB, Windows, Apple, set 2, set 3; "-" where it has none.
TABLE: Final = """
esc 1 01 29 1b 35 76 08
1 2 02 1e 31 12 16 16
2 3 03 1f 32 13 1e 1e
3 4 04 20 33 14 26 26
4 5 05 21 34 15 25 25
5 6 06 22 35 17 2e 2e
6 7 07 23 36 16 36 36
7 8 08 24 37 1a 3d 3d
8 9 09 25 38 1c 3e 3e
9 10 0a 26 39 19 46 46
0 11 0b 27 30 1d 45 45
minus 12 0c 2d bd 1b 4e 4e
equal 13 0d 2e bb 18 55 55
backspace 14 0e 2a 08 33 66 66
tab 15 0f 2b 09 30 0d 0d
q 16 10 14 51 0c 15 15
w 17 11 1a 57 0d 1d 1d
e 18 12 08 45 0e 24 24
r 19 13 15 52 0f 2d 2d
t 20 14 17 54 11 2c 2c
y 21 15 1c 59 10 35 35
u 22 16 18 55 20 3c 3c
i 23 17 0c 49 22 43 43
o 24 18 12 4f 1f 44 44
p 25 19 13 50 23 4d 4d
leftbrace 26 1a 2f db 21 54 54
rightbrace 27 1b 30 dd 1e 5b 5b
enter 28 1c 28 0d 24 5a 5a
leftctrl 29 1d e0 a2 3b 14 11
a 30 1e 04 41 00 1c 1c
s 31 1f 16 53 01 1b 1b
d 32 20 07 44 02 23 23
f 33 21 09 46 03 2b 2b
g 34 22 0a 47 05 34 34
h 35 23 0b 48 04 33 33
j 36 24 0d 4a 26 3b 3b
k 37 25 0e 4b 28 42 42
l 38 26 0f 4c 25 4b 4b
semicolon 39 27 33 ba 29 4c 4c
apostrophe 40 28 34 de 27 52 52
grave 41 29 35 c0 32 0e 0e
leftshift 42 2a e1 a0 38 12 12
backslash 43 2b 31 dc 2a 5d 5c
z 44 2c 1d 5a 06 1a 1a
x 45 2d 1b 58 07 22 22
c 46 2e 06 43 08 21 21
v 47 2f 19 56 09 2a 2a
b 48 30 05 42 0b 32 32
n 49 31 11 4e 2d 31 31
m 50 32 10 4d 2e 3a 3a
comma 51 33 36 bc 2b 41 41
dot 52 34 37 be 2f 49 49
slash 53 35 38 bf 2c 4a 4a
rightshift 54 36 e5 a1 3c 59 59
kpasterisk 55 37 55 6a 43 7c 7e
leftalt 56 38 e2 a4 3a 11 19
space 57 39 2c 20 31 29 29
capslock 58 3a 39 14 39 58 14
f1 59 3b 3a 70 7a 05 07
f2 60 3c 3b 71 78 06 0f
f3 61 3d 3c 72 63 04 17
f4 62 3e 3d 73 76 0c 1f
f5 63 3f 3e 74 60 03 27
f6 64 40 3f 75 61 0b 2f
f7 65 41 40 76 62 83 37
f8 66 42 41 77 64 0a 3f
f9 67 43 42 78 65 01 47
f10 68 44 43 79 6d 09 4f
numlock 69 45 53 90 47 77 76
scrolllock 70 46 47 91 - 7e 5f
kp7 71 47 5f 67 59 6c 6c
kp8 72 48 60 68 5b 75 75
kp9 73 49 61 69 5c 7d 7d
kpminus 74 4a 56 6d 4e 7b 84
kp4 75 4b 5c 64 56 6b 6b
kp5 76 4c 5d 65 57 73 73
kp6 77 4d 5e 66 58 74 74
kpplus 78 4e 57 6b 45 79 7c
kp1 79 4f 59 61 53 69 69
kp2 80 50 5a 62 54 72 72
kp3 81 51 5b 63 55 7a 7a
kp0 82 52 62 60 52 70 70
kpdot 83 53 63 6e 41 71 71
zenkakuhankaku 85 76 94 - - 5f -
102nd 86 56 64 e2 0a 61 13
f11 87 57 44 7a 67 78 56
f12 88 58 45 7b 6f 07 5e
ro 89 73 87 - - 51 -
henkan 92 79 8a - - 64 -
katakanahiragana 93 70 88 - - 13 -
muhenkan 94 7b 8b - - 67 -
kpenter 96 9c 58 - 4c e05a 79
rightctrl 97 9d e4 a3 3e e014 58
kpslash 98 b5 54 6f 4b e04a -
sysrq 99 54 46 2c - - -
rightalt 100 b8 e6 a5 3d e011 39
home 102 c7 4a 24 73 e06c 6e
up 103 c8 52 26 7e e075 63
pageup 104 c9 4b 21 74 e07d 6f
left 105 cb 50 25 7b e06b 61
right 106 cd 4f 27 7c e074 6a
end 107 cf 4d 23 77 e069 65
down 108 d0 51 28 7d e072 60
pagedown 109 d1 4e 22 79 e07a 6d
insert 110 d2 49 2d 72 e070 67
delete 111 d3 4c 2e 75 e071 64
mute 113 a0 7f ad 4a e023 -
volumedown 114 ae 81 ae 49 e021 -
volumeup 115 b0 80 af 48 e032 -
power 116 de 66 - - e037 -
kpequal 117 59 67 - 51 0f -
pause 119 c6 48 13 - - -
yen 124 7d 89 - 5d 6a -
leftmeta 125 db e3 5b 37 e01f 8b
rightmeta 126 dc e7 5c 36 e027 8c
compose 127 dd 65 5d - e02f 8d
sleep 142 df - 5f - e03f -
wakeup 143 e3 - - - e05e -
"""
COLUMNS: Final = (
    KeycodeSet.USB,
    KeycodeSet.WIN32,
    KeycodeSet.OSX,
    KeycodeSet.ATSET2,
    KeycodeSet.ATSET3,
)
PREFIX: Final = 0xE000
EXTENDED: Final = 0x80


def to_qnum(codeset: KeycodeSet, code: int) -> int | None:
    """Look up the key's number for QEMU; None if the set has no such key."""
    if codeset in (KeycodeSet.QNUM, KeycodeSet.XT, KeycodeSet.ATSET1, KeycodeSet.XT_KBD):
        return _of_set_1(code)
    return _tables()[codeset].get(code)


def _of_set_1(code: int) -> int | None:
    """Set 1 itself; the prefix may be spelt 0xe0.., 0x1.., or as bit 7."""
    if 0 < code <= 0xFF:
        return code
    low = code & 0xFF
    if code & ~0xFF in (PREFIX, 0x100) and 0 < low < EXTENDED:
        return EXTENDED | low
    return None


@cache
def _tables() -> dict[KeycodeSet, dict[int, int]]:
    tables: dict[KeycodeSet, dict[int, int]] = {KeycodeSet.LINUX: {}}
    tables |= {column: {} for column in COLUMNS}
    for line in TABLE.strip().splitlines():
        _, linux, qnum, *others = line.split()
        number = int(qnum, 16)
        tables[KeycodeSet.LINUX][int(linux)] = number
        for column, text in zip(COLUMNS, others, strict=True):
            if text != "-":
                tables[column][int(text, 16)] = number
    return tables
