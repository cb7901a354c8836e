//! Captures: finding the files, and reading their records whatever state they are in.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use pcap_parser::{
    Block, Linktype, PcapBlockOwned, PcapError, create_reader, traits::PcapNGPacketBlock,
};

/// Bytes of a file that are held at a time, to begin with.
const BUFFER_LEN: usize = 1 << 20;

/// No sane record is longer.
const MAX_BUFFER_LEN: usize = 1 << 26;

/// One packet of a capture.
pub struct Record<'a> {
    /// From 1 on within the file.
    pub number: u64,
    /// What `data` starts with.
    pub link_type: Linktype,
    /// As captured.
    pub data: &'a [u8],
    /// The capture holds less than there was on the wire.
    pub truncated: bool,
}

/// The files under `path` (or `path` itself) whose names end like captures, and how many others
/// there are. Links to folders are not followed.
pub fn find(path: &Path) -> io::Result<(Vec<PathBuf>, u64)> {
    let (mut captures, mut others) = (Vec::new(), 0);
    if path.is_file() {
        return Ok((vec![path.to_owned()], 0));
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if is_capture(&path) {
                captures.push(path);
            } else {
                others += 1;
            }
        }
    }
    captures.sort();
    Ok((captures, others))
}

fn is_capture(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| matches!(extension, "pcap" | "pcapng" | "cap"))
}

/// Calls `each` with every record until the end of the file.
///
/// # Errors
/// Why the rest of the file cannot be read. The records before were handed out.
pub fn read(path: &Path, mut each: impl FnMut(Record)) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut reader = create_reader(BUFFER_LEN, file).map_err(|error| reason(&error))?;
    let mut buffer_len = BUFFER_LEN;
    let mut links = Links::default();
    let mut number = 0;
    loop {
        match reader.next() {
            Ok((len, block)) => {
                if let Some((link_type, data, truncated)) = links.packet(&block) {
                    number += 1;
                    each(Record {
                        number,
                        link_type,
                        data,
                        truncated,
                    });
                }
                reader.consume(len);
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => {
                reader.refill().map_err(|error| reason(&error))?;
            }
            Err(PcapError::BufferTooSmall) if buffer_len < MAX_BUFFER_LEN => {
                buffer_len *= 2;
                if !reader.grow(buffer_len) {
                    return Err("a record is too long".to_owned());
                }
                reader.refill().map_err(|error| reason(&error))?;
            }
            Err(error) => return Err(reason(&error)),
        }
    }
}

/// Without the bytes that the parser's own text goes on to dump.
fn reason(error: &PcapError<&[u8]>) -> String {
    match error {
        PcapError::NomError(_, kind) | PcapError::OwnedNomError(_, kind) => {
            format!("no sound record: {kind:?}")
        }
        error => error.to_string(),
    }
}

/// The link types that the records of a file refer to.
#[derive(Default)]
struct Links(Vec<Linktype>);

impl Links {
    /// Link type, bytes and whether some are missing.
    fn packet<'a>(&mut self, block: &'a PcapBlockOwned) -> Option<(Linktype, &'a [u8], bool)> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.0 = vec![header.network];
                None
            }
            PcapBlockOwned::Legacy(it) => {
                Some((self.of(0), it.data, it.data.len() < it.origlen as usize))
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.0.clear();
                None
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(it)) => {
                self.0.push(it.linktype);
                None
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(it)) => {
                let data = it.packet_data();
                Some((self.of(it.if_id), data, data.len() < it.origlen as usize))
            }
            PcapBlockOwned::NG(Block::SimplePacket(it)) => {
                let data = it.packet_data();
                Some((self.of(0), data, data.len() < it.origlen as usize))
            }
            PcapBlockOwned::NG(_) => None,
        }
    }

    /// A record may name an interface that the file has not described.
    fn of(&self, interface: u32) -> Linktype {
        let found = usize::try_from(interface)
            .ok()
            .and_then(|at| self.0.get(at));
        found.copied().unwrap_or(Linktype(-1))
    }
}
