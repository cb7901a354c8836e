"""Frames in and out of a netdev, as they are: each line of stdin is sent, each frame that comes in
is printed, in hexadecimal digits. The kernel takes the outer VLAN tag off; it is put back. With a second
argument, nothing is looked at or printed."""

import socket
import struct
import sys
import threading
import time

SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING, SO_RCVBUFFORCE = 263, 8, 4, 33
VLAN_VALID, VLAN_TPID_VALID = 1 << 4, 1 << 6
ETH_P_ALL = 3

sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
sock.bind((sys.argv[1], 0 if sys.argv[2:] else ETH_P_ALL))
print("ready", flush=True)


def send():
    for number, line in enumerate(sys.stdin, 1):
        sock.send(bytes.fromhex(line))
        # A veth that is looked at by XDP holds 256 frames, and drops the next.
        if number % 64 == 0:
            time.sleep(0.005)


threading.Thread(target=send, daemon=True).start()
while True:
    frame, controls, _, sender = sock.recvmsg(65536, 64)
    if sender[2] == PACKET_OUTGOING:
        continue
    for _, kind, data in controls:
        status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", data[:20])
        if kind == PACKET_AUXDATA and status & VLAN_VALID:
            tpid = tpid if status & VLAN_TPID_VALID else 0x8100
            frame = frame[:12] + struct.pack(">HH", tpid, tci) + frame[12:]
    print(frame.hex(), flush=True)
