//! The TAP netdev: made, set up and asked through tun(4) and rtnetlink(7).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tun_rs::{DeviceBuilder, Layer};

use crate::Config;
use crate::cidr::Cidr;
use crate::error::Error;

const TUN: &str = "/dev/net/tun";
/// Linux' `IFNAMSIZ`, without the terminating zero.
const LONGEST_NAME: usize = 15;
/// RFC 8200 section 5: links with less carry no IPv6.
const SMALLEST_IPV6_MTU: u16 = 1280;

/// A TAP netdev that lives as long as its descriptor.
pub struct Netdev {
    /// Non-blocking; a read or write is one frame.
    pub fd: OwnedFd,
    /// The kernel's number for it, which no renaming changes.
    pub index: u32,
}

impl Netdev {
    /// Makes the netdev and sets it up; the last step takes it up, so that the kernel sends
    /// nothing before all is set.
    pub fn create(config: &Config) -> Result<Self, Error> {
        let name = config.netdev.as_str();
        if let Some(reason) = bad_name(name) {
            return Err(Error::BadName {
                netdev: name.to_owned(),
                reason,
            });
        }
        // Else tun-rs would make the device node.
        if !Path::new(TUN).exists() {
            return Err(Error::NoTun);
        }
        // A persistent TAP that no one has open would be taken over with all its settings.
        if index_of(name).is_ok() {
            return Err(Error::NameTaken {
                netdev: name.to_owned(),
            });
        }
        let netdev = Self::open(name).map_err(|source| Error::from_open(name, source))?;
        netdev.set_up(config)?;
        Ok(netdev)
    }

    fn open(name: &str) -> io::Result<Self> {
        let device = DeviceBuilder::new()
            .name(name)
            .layer(Layer::L2)
            .inherit_enable_state()
            .build_sync()?;
        device.set_nonblocking(true)?;
        Ok(Self {
            fd: device.as_fd().try_clone_to_owned()?,
            index: index_of(name)?,
        })
    }

    fn set_up(&self, config: &Config) -> Result<(), Error> {
        let name = config.netdev.as_str();
        let settings = [
            (
                format!("MAC address {}", config.mac),
                self.message().address(config.mac.0.to_vec()).build(),
            ),
            (
                format!("MTU {}", config.mtu),
                self.message().mtu(config.mtu.into()).build(),
            ),
        ];
        for (what, message) in settings {
            set_link(message).map_err(|source| Error::from_change(name, what, source))?;
        }
        for addr in &config.addresses {
            self.add_address(config, *addr)?;
        }
        set_link(self.message().up().build())
            .map_err(|source| Error::from_change(name, "taking it up".to_owned(), source))
    }

    fn message(&self) -> LinkMessageBuilder<LinkUnspec> {
        LinkUnspec::new_with_index(self.index)
    }

    fn add_address(&self, config: &Config, cidr: Cidr) -> Result<(), Error> {
        if cidr.addr().is_ipv6() && config.mtu < SMALLEST_IPV6_MTU {
            return Err(Error::NoIpv6 {
                netdev: config.netdev.clone(),
                addr: cidr,
                reason: "IPv6 needs an MTU of 1280 at least",
            });
        }
        let (index, addr, prefix_len) = (self.index, cidr.addr(), cidr.prefix_len());
        netlink(async move |handle| {
            handle
                .address()
                .add(index, addr, prefix_len)
                .execute()
                .await
        })
        .map_err(|source| Error::from_address(&config.netdev, cidr, source))
    }
}

/// The addresses that the netdev of this number has at the moment.
pub fn addresses(index: u32) -> io::Result<Vec<Cidr>> {
    let messages: Vec<AddressMessage> = netlink(async move |handle| {
        let request = handle.address().get().set_link_index_filter(index);
        request.execute().try_collect().await
    })?;
    Ok(messages.iter().filter_map(cidr).collect())
}

fn bad_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > LONGEST_NAME {
        Some("it has more than 15 bytes")
    } else if matches!(name, "." | "..") {
        Some("it names a directory")
    } else if name
        .chars()
        .any(|c| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control())
    {
        // The kernel would fill a % in.
        Some("it has a space, a slash, a colon, a percent sign or a control character")
    } else {
        None
    }
}

fn index_of(name: &str) -> Result<u32, Errno> {
    // Any socket will do for the question.
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    name_to_index(socket, name)
}

fn set_link(message: LinkMessage) -> io::Result<()> {
    netlink(async move |handle| handle.link().set(message).execute().await)
}

/// A message's own address. On a point-to-point link `Address` is the far end's.
fn cidr(message: &AddressMessage) -> Option<Cidr> {
    let attributes = || message.attributes.iter();
    let local = attributes().find_map(|attribute| match attribute {
        AddressAttribute::Local(addr) => Some(*addr),
        _ => None,
    });
    let addr = local.or_else(|| {
        attributes().find_map(|attribute| match attribute {
            AddressAttribute::Address(addr) => Some(*addr),
            _ => None,
        })
    })?;
    Cidr::new(addr, message.header.prefix_len)
}

/// Runs one exchange with the kernel. Rare, so that a runtime of its own each time costs less
/// than one that is kept.
fn netlink<T>(exchange: impl AsyncFnOnce(Handle) -> Result<T, rtnetlink::Error>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        runtime.spawn(connection);
        exchange(handle).await.map_err(|error| match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    #[test]
    fn names_that_linux_refuses() {
        assert_eq!(bad_name("msh0"), None);
        assert_eq!(bad_name("fifteen-bytes-0"), None);
        assert!(bad_name("sixteen-bytes-00").is_some_and(|why| why.contains("15 bytes")));
        for name in ["", ".", "..", "a/b", "a b", "a:0", "msh%d", "a\n"] {
            assert!(bad_name(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn own_address_and_not_the_far_ends() {
        let mut message = AddressMessage::default();
        message.header.prefix_len = 32;
        let (own, far): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        message.attributes = vec![AddressAttribute::Address(far), AddressAttribute::Local(own)];
        assert_eq!(cidr(&message), Cidr::new(own, 32));
        message.attributes = vec![AddressAttribute::Address(Ipv6Addr::LOCALHOST.into())];
        message.header.prefix_len = 128;
        assert_eq!(cidr(&message), Cidr::new(Ipv6Addr::LOCALHOST.into(), 128));
    }
}
