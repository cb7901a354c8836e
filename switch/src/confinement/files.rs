//! The files that may be written to, made and removed, by Landlock. Reading is not confined: what the
//! C library reads to find a user's number, and drivers in `/sys`, no one could list.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, make_bitflags,
    path_beneath_rules,
};

/// The latest of the kernel's versions that is known here; of an older one, what it has.
const NEWEST: ABI = ABI::V5;
/// What the exception path opens to make its netdev anew.
const TUN: &str = "/dev/net/tun";

/// Folders in which something changes later on, those below included.
pub struct Folders {
    /// Files are made, written to and removed.
    pub changed: Vec<PathBuf>,
    /// Sockets are made, and files removed.
    pub sockets: Vec<PathBuf>,
    /// Files are removed.
    pub emptied: Vec<PathBuf>,
}

/// A ruleset for threads to restrict themselves to: nothing is executed, and files change only in `folders`.
/// None if the kernel has no Landlock.
///
/// # Errors
/// The kernel has no descriptor left, or the like.
pub fn ruleset(folders: &Folders) -> Result<Option<OwnedFd>, RulesetError> {
    let handled = AccessFs::from_write(NEWEST) | AccessFs::Execute;
    let device = make_bitflags!(AccessFs::{WriteFile | IoctlDev});
    let removal = make_bitflags!(AccessFs::{RemoveFile | RemoveDir});
    let ruleset = Ruleset::default()
        .handle_access(handled)?
        .create()?
        .add_rules(path_beneath_rules(&folders.changed, changes()))?
        .add_rules(path_beneath_rules(
            &folders.sockets,
            removal | AccessFs::MakeSock,
        ))?
        .add_rules(path_beneath_rules(&folders.emptied, removal))?
        .add_rules(path_beneath_rules([TUN], device))?;
    Ok(ruleset.into())
}

/// All changes but those to devices.
fn changes() -> BitFlags<AccessFs> {
    let devices = make_bitflags!(AccessFs::{MakeChar | MakeBlock | IoctlDev});
    AccessFs::from_write(NEWEST) & !devices
}

/// The folders of files that are parameters of devices, as in `--vdev net_pcap0,tx_pcap=/tmp/out`: their drivers
/// may remove or make them at any time.
pub fn named_in(eal_args: &[String]) -> Vec<PathBuf> {
    let parameters = eal_args.iter().flat_map(|arg| arg.split(',').skip(1));
    let values = parameters.filter_map(|parameter| Some(parameter.split_once('=')?.1));
    let files = values.map(Path::new).filter(|path| path.is_absolute());
    files.map(folder).collect()
}

/// Devices and what lies in the root folder only themselves.
fn folder(file: &Path) -> PathBuf {
    let parent = file.parent().unwrap_or(file);
    let is_wide = parent == Path::new("/") || parent.starts_with("/dev");
    if is_wide { file } else { parent }.to_owned()
}
