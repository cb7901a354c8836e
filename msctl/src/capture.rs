//! Ethernet frames from a pcap or pcapng file.

use std::fs::File;
use std::path::Path;

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// No sane record is longer, in bytes.
const BUFFER: usize = 1 << 20;

/// A record of a capture.
pub struct Record<'a> {
    /// The frame, or as much of it as was captured.
    pub frame: &'a [u8],
    /// Its length on the wire in bytes.
    pub len: usize,
}

/// Calls `each` with every record of the file at `path`, until it fails.
///
/// # Errors
/// As `each`, or a line that names the file and why it, or the rest of it, cannot be read: among
/// other things because it was not captured on Ethernet.
pub fn read<E: From<String>>(
    path: &Path,
    mut each: impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let bad = |why: &dyn std::fmt::Display| E::from(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| bad(&error))?;
    let mut reader = create_reader(BUFFER, file).map_err(|_| bad(&"not a pcap or pcapng file"))?;
    let mut links = Vec::new();
    loop {
        match reader.next() {
            Ok((len, block)) => {
                note_links(&mut links, &block);
                if let Some((interface, record)) = record(&block) {
                    match links.get(interface) {
                        Some(&Linktype::ETHERNET) => each(record)?,
                        Some(other) => return Err(bad(&format!("{other}, not Ethernet"))),
                        None => return Err(bad(&"a record is of no interface")),
                    }
                }
                reader.consume(len);
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => {
                let refilled = reader.refill();
                refilled.map_err(|_| bad(&"a record is cut off"))?;
            }
            Err(PcapError::UnexpectedEof) => return Err(bad(&"its last record is cut off")),
            Err(_) => return Err(bad(&"a record makes no sense")),
        }
    }
}

/// Keeps the link types that records refer to by number.
fn note_links(links: &mut Vec<Linktype>, block: &PcapBlockOwned<'_>) {
    match block {
        PcapBlockOwned::LegacyHeader(header) => links.push(header.network),
        PcapBlockOwned::NG(Block::SectionHeader(_)) => links.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            links.push(interface.linktype);
        }
        _ => {}
    }
}

/// A block's packet, if it holds one, and the number of its interface.
fn record<'a>(block: &'a PcapBlockOwned<'_>) -> Option<(usize, Record<'a>)> {
    let (interface, frame, len) = match block {
        PcapBlockOwned::Legacy(it) => (0, it.data, it.origlen),
        PcapBlockOwned::NG(Block::EnhancedPacket(it)) => (it.if_id, it.packet_data(), it.origlen),
        PcapBlockOwned::NG(Block::SimplePacket(it)) => (0, it.packet_data(), it.origlen),
        _ => return None,
    };
    let len = usize::try_from(len).ok()?;
    Some((usize::try_from(interface).ok()?, Record { frame, len }))
}
