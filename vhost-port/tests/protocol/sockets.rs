//! The socket's place in the file system; of the rest `endpoint` has its own tests.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use vhost_port::{Access, DEFAULT_ACCESS, Device, DeviceSetup, Mode, Port, StartError};

use crate::common::lab::Folder;

fn start(path: &Path, access: Access) -> Result<Device, StartError> {
    Device::start(DeviceSetup {
        name: "a".to_owned(),
        path: path.to_owned(),
        mode: Mode::Server(access),
        port: Arc::new(Port::new(1).unwrap()),
        on_event: Box::new(|_| {}),
    })
}

#[test]
fn it_lets_in_whom_it_should_and_goes_at_the_end() {
    let folder = Folder::new();
    let path = folder.socket();
    for access in [
        DEFAULT_ACCESS,
        Access {
            mode: 0o600,
            ..DEFAULT_ACCESS
        },
    ] {
        let device = start(&path, access).unwrap();
        let mode = std::fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o7777, access.mode);
        UnixStream::connect(&path).unwrap();
        device.stop();
        assert!(!path.exists());
    }
    assert_eq!(DEFAULT_ACCESS.mode, 0o660);
}

#[test]
fn one_that_is_in_use_is_left_alone() {
    let folder = Folder::new();
    let path = folder.socket();
    let _device = start(&path, DEFAULT_ACCESS).unwrap();
    let error = start(&path, DEFAULT_ACCESS).err().unwrap().to_string();
    assert_eq!(
        error,
        format!("{}: another process listens there", path.display())
    );
    UnixStream::connect(&path).unwrap();
}
