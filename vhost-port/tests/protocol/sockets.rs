//! The socket's place in the file system.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use vhost_port::{Access, Device, DeviceSetup, Mode, Port, StartError};

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

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn it_has_the_mode_that_was_asked_for() {
    let folder = Folder::new();
    let path = folder.socket();
    let device = start(&path, Access::default()).unwrap();
    assert_eq!(mode_of(&path), 0o660);
    device.stop();
    for mode in [0o600, 0o666, 0o777] {
        let access = Access {
            mode,
            ..Access::default()
        };
        let _device = start(&path, access).unwrap();
        assert_eq!(mode_of(&path), mode);
    }
    assert!(!path.exists());
}

#[test]
fn it_has_the_owner_that_was_asked_for_or_none() {
    let folder = Folder::new();
    let path = folder.socket();
    let access = Access {
        owner: Some(54_321),
        group: Some(54_322),
        ..Access::default()
    };
    match start(&path, access) {
        Ok(_device) => {
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (54_321, 54_322));
        }
        // Only root can give files away.
        Err(_) => assert!(!path.exists()),
    }
}

#[test]
fn a_dead_one_is_replaced() {
    let folder = Folder::new();
    let path = folder.socket();
    drop(UnixListener::bind(&path).unwrap());
    assert!(UnixStream::connect(&path).is_err());
    let _device = start(&path, Access::default()).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_live_one_is_not() {
    let folder = Folder::new();
    let path = folder.socket();
    let device = start(&path, Access::default()).unwrap();
    let error = start(&path, Access::default()).err().unwrap().to_string();
    assert_eq!(
        error,
        format!("{}: another process listens there", path.display())
    );
    UnixStream::connect(&path).unwrap();
    device.stop();
    assert!(!path.exists());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = Folder::new();
    let path = folder.socket();
    std::fs::write(&path, "precious").unwrap();
    assert!(start(&path, Access::default()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();
    let precious = folder.path().join("precious");
    drop(UnixListener::bind(&precious).unwrap());
    std::os::unix::fs::symlink(&precious, &path).unwrap();
    assert!(start(&path, Access::default()).is_err());
    assert!(
        std::fs::metadata(&precious)
            .unwrap()
            .file_type()
            .is_socket()
    );
}

#[test]
fn another_that_took_its_place_is_not_removed() {
    let folder = Folder::new();
    let path = folder.socket();
    let device = start(&path, Access::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    device.stop();
    assert!(path.exists());
}
