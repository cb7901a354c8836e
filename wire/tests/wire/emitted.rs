//! A packet of every kind that `emit` builds, and what each must parse to.

use std::net::{IpAddr, SocketAddr};

use crate::emit::ETH;
use wire::emit::{self, Sctp, Tcp, Udp};
use wire::{
    About, Arp, Body, Fragment, Group, Icmp, L4, NdKind, NeighborDiscovery, Other, Proto, TupleV4,
    TupleV6, proto,
};

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Udp,
    Tcp,
    Sctp,
    Echo,
    Error,
    Fragment,
    Group,
    Neighbor,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Udp,
        Self::Tcp,
        Self::Sctp,
        Self::Echo,
        Self::Error,
        Self::Fragment,
        Self::Group,
        Self::Neighbor,
    ];
}

/// Both addresses are of one family.
#[derive(Clone, Debug)]
pub struct Packet {
    pub kind: Kind,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub src_port: u16,
    pub dst_port: u16,
    pub payload: Vec<u8>,
}

impl Packet {
    /// The untagged frame, and what it must parse to.
    pub fn build(&self) -> (Vec<u8>, Body) {
        match self.kind {
            Kind::Udp => self.l4(proto::UDP, 8),
            Kind::Tcp => self.l4(proto::TCP, 20),
            Kind::Sctp => self.l4(proto::SCTP, 12),
            Kind::Echo => self.echo(),
            Kind::Error => self.error(),
            Kind::Fragment => self.fragment(),
            Kind::Group => self.group(),
            Kind::Neighbor => self.neighbor(),
        }
    }

    fn l4_offset(&self) -> u16 {
        if self.src.is_ipv4() { 34 } else { 54 }
    }

    fn emit(&self, number: u8) -> Vec<u8> {
        let src = SocketAddr::new(self.src, self.src_port);
        let dst = SocketAddr::new(self.dst, self.dst_port);
        let payload = &self.payload[..];
        written(|buf| match number {
            proto::UDP => Udp {
                eth: ETH,
                src,
                dst,
                payload,
            }
            .write(buf),
            proto::TCP => Tcp {
                eth: ETH,
                src,
                dst,
                seq: 1,
                ack: 2,
                flags: 0x18,
                window: 3,
                payload,
            }
            .write(buf),
            _ => Sctp {
                eth: ETH,
                src,
                dst,
                tag: 7,
                chunks: payload,
            }
            .write(buf),
        })
    }

    fn l4(&self, number: u8, header_len: u16) -> (Vec<u8>, Body) {
        let frame = self.emit(number);
        let (src_port, dst_port) = (self.src_port, self.dst_port);
        let l4_offset = self.l4_offset();
        let payload_offset = l4_offset + header_len;
        let end = u16::try_from(frame.len()).unwrap();
        assert_eq!(frame[usize::from(payload_offset)..], self.payload);
        let body = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Body::V4(L4 {
                tuple: TupleV4 {
                    src: src.into(),
                    dst: dst.into(),
                    src_port,
                    dst_port,
                    proto: number,
                },
                l3_offset: 14,
                l4_offset,
                payload_offset,
                end,
            }),
            (IpAddr::V6(src), IpAddr::V6(dst)) => Body::V6(L4 {
                tuple: TupleV6 {
                    src: src.into(),
                    dst: dst.into(),
                    src_port,
                    dst_port,
                    proto: number,
                },
                l3_offset: 14,
                l4_offset,
                payload_offset,
                end,
            }),
            _ => unreachable!("both ends are of one family"),
        };
        (frame, body)
    }

    fn icmp(&self, kind: u8, body: &[u8], about: Option<About>) -> (Vec<u8>, Body) {
        let frame = written(|buf| {
            emit::Icmp {
                eth: ETH,
                src: self.src,
                dst: self.dst,
                kind,
                code: 1,
                rest: u32::from(self.src_port),
                body,
            }
            .write(buf)
        });
        let icmp = Icmp {
            src: self.src,
            dst: self.dst,
            kind,
            code: 1,
            l4_offset: self.l4_offset(),
            end: u16::try_from(frame.len()).unwrap(),
            about,
        };
        (frame, Body::Other(Other::Icmp(icmp)))
    }

    fn echo(&self) -> (Vec<u8>, Body) {
        let kind = if self.src.is_ipv4() { 8 } else { 128 };
        self.icmp(kind, &self.payload, None)
    }

    /// About a packet that went the other way.
    fn error(&self) -> (Vec<u8>, Body) {
        let cause = Self {
            src: self.dst,
            dst: self.src,
            ..self.clone()
        };
        let frame = cause.emit(proto::TCP);
        let about = About {
            src: cause.src,
            dst: cause.dst,
            proto: proto::TCP,
            ports: Some((self.src_port, self.dst_port)),
        };
        let kind = if self.src.is_ipv4() { 3 } else { 2 };
        self.icmp(kind, emit::quote(&frame).unwrap(), Some(about))
    }

    /// The first or the second 40 bytes.
    fn fragment(&self) -> (Vec<u8>, Body) {
        let mut long = self.clone();
        long.payload.resize(self.payload.len() + 60, 0xa5);
        let whole = long.emit(proto::UDP);
        let offset = if self.src_port.is_multiple_of(2) {
            0
        } else {
            40
        };
        let frame = written(|buf| emit::fragment(&whole, 0x8000_1234, offset, 40, buf));
        let left = whole.len() - usize::from(self.l4_offset() + offset);
        let (id, header_len) = match self.src {
            IpAddr::V4(_) => (0x1234, 20),
            IpAddr::V6(_) => (0x8000_1234, 48),
        };
        let len = u16::try_from(frame.len()).unwrap() - 14 - header_len;
        assert_eq!(usize::from(len), left.min(40));
        let fragment = Fragment {
            src: self.src,
            dst: self.dst,
            proto: proto::UDP,
            id,
            offset,
            len,
            more: left > 40,
            ports: (offset == 0).then_some((self.src_port, self.dst_port)),
            l3_offset: 14,
        };
        (frame, Body::Other(Other::Fragment(fragment)))
    }

    fn group(&self) -> (Vec<u8>, Body) {
        let dst = match self.dst {
            IpAddr::V4(_) => [224, 0, 0, 251].into(),
            IpAddr::V6(_) => IpAddr::V6("ff02::fb".parse().unwrap()),
        };
        let frame = Self {
            dst,
            ..self.clone()
        }
        .emit(proto::UDP);
        let group = Group {
            src: self.src,
            dst,
            proto: proto::UDP,
            ports: Some((self.src_port, self.dst_port)),
            l4_offset: self.l4_offset(),
            end: u16::try_from(frame.len()).unwrap(),
        };
        (frame, Body::Other(Other::Group(group)))
    }

    /// ARP or neighbour discovery.
    fn neighbor(&self) -> (Vec<u8>, Body) {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let arp = Arp {
                    op: self.src_port,
                    sender_mac: ETH.src,
                    sender_ip: src,
                    target_mac: ETH.dst,
                    target_ip: dst,
                };
                let frame = written(|buf| arp.write(ETH, buf));
                (frame, Body::Other(Other::Arp(arp)))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let kind = match self.src_port % 2 {
                    0 => NdKind::Solicitation,
                    _ => NdKind::Advertisement,
                };
                let nd = NeighborDiscovery {
                    kind,
                    src,
                    dst,
                    target: Some(if self.dst_port.is_multiple_of(2) {
                        src
                    } else {
                        dst
                    }),
                    link_layer: self.payload.len().is_multiple_of(2).then_some(ETH.src),
                    hop_limit: 255,
                };
                let frame = written(|buf| nd.write(ETH, buf));
                (frame, Body::Other(Other::Neighbor(nd)))
            }
            _ => unreachable!("both ends are of one family"),
        }
    }
}

fn written(write: impl Fn(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut buf = vec![0; 2048];
    let len = write(&mut buf).unwrap();
    buf.truncate(len);
    buf
}

/// What the frame is once `by` bytes of tags are in it.
pub fn shifted(body: Body, by: usize) -> Body {
    fn l4<T: Copy>(it: L4<T>, by: u16) -> L4<T> {
        L4 {
            l3_offset: it.l3_offset + by,
            l4_offset: it.l4_offset + by,
            payload_offset: it.payload_offset + by,
            end: it.end + by,
            ..it
        }
    }
    let by = u16::try_from(by).unwrap();
    match body {
        Body::V4(it) => Body::V4(l4(it, by)),
        Body::V6(it) => Body::V6(l4(it, by)),
        Body::Other(other) => Body::Other(match other {
            Other::Icmp(it) => Other::Icmp(Icmp {
                l4_offset: it.l4_offset + by,
                end: it.end + by,
                ..it
            }),
            Other::Group(it) => Other::Group(Group {
                l4_offset: it.l4_offset + by,
                end: it.end + by,
                ..it
            }),
            Other::Proto(it) => Other::Proto(Proto {
                l4_offset: it.l4_offset + by,
                end: it.end + by,
                ..it
            }),
            Other::Fragment(it) => Other::Fragment(Fragment {
                l3_offset: it.l3_offset + by,
                ..it
            }),
            it => it,
        }),
    }
}
