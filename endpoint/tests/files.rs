//! The socket's file.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use endpoint::{Access, Endpoint};
use rustix::net::SocketType;
use rustix::process::{getegid, geteuid};

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("endpoint-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const fn access(mode: u32) -> Access {
    Access {
        mode,
        owner: None,
        group: None,
    }
}

fn listen(path: &Path, access: Access) -> std::io::Result<Endpoint> {
    Endpoint::listen(path, SocketType::STREAM, 1, access)
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn it_has_the_mode_that_was_asked_for() {
    let folder = Folder::new("modes");
    let path = folder.file("a.sock");
    for mode in [0o600, 0o660, 0o666, 0o777, 0] {
        let endpoint = listen(&path, access(mode)).unwrap();
        assert_eq!(mode_of(&path), mode);
        endpoint.admit(access(0o640)).unwrap();
        assert_eq!(mode_of(&path), 0o640);
        drop(endpoint);
        assert!(!path.exists());
    }
}

#[test]
fn owner_and_group_are_set_or_the_error_says_what_was_not() {
    let folder = Folder::new("owner");
    let path = folder.file("a.sock");
    let theirs = Access {
        owner: Some(54_321),
        group: Some(54_322),
        ..access(0o660)
    };
    match listen(&path, theirs) {
        Ok(endpoint) => {
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (54_321, 54_322));
            // And back.
            endpoint.admit(access(0o660)).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            let ours = (geteuid().as_raw(), getegid().as_raw());
            assert_eq!((metadata.uid(), metadata.gid()), ours);
        }
        // Only root can give files away.
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("user 54321, group 54322"), "{error}");
            assert!(!path.exists());
        }
    }
}

#[test]
fn what_took_its_place_is_left_as_it_is() {
    let folder = Folder::new("place");
    let path = folder.file("a.sock");
    let endpoint = listen(&path, access(0o600)).unwrap();
    let other = folder.file("b.sock");
    let _other = listen(&other, access(0o600)).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&other, &path).unwrap();
    assert!(endpoint.admit(access(0o666)).is_err());
    assert_eq!(mode_of(&other), 0o600);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(endpoint.admit(access(0o666)).is_err());
    assert_eq!(mode_of(&path), 0o640);
    fs::remove_file(&path).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    let before = mode_of(&path);
    assert!(endpoint.admit(access(0o600)).is_err());
    assert_eq!(mode_of(&path), before);
    drop(endpoint);
    assert!(path.exists(), "someone else's");
}

#[test]
fn a_dead_one_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new("live");
    let path = folder.file("a.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(UnixStream::connect(&path).is_err());
    let _endpoint = listen(&path, access(0o600)).unwrap();
    let error = listen(&path, access(0o600)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.to_string(), "another process listens there");
    UnixStream::connect(&path).unwrap();
}

#[test]
fn one_without_room_for_clients_is_live() {
    let folder = Folder::new("full");
    let path = folder.file("a.sock");
    let _endpoint = listen(&path, access(0o600)).unwrap();
    let _waiting = [(); 2].map(|()| UnixStream::connect(&path).unwrap());
    let error = listen(&path, access(0o600)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = Folder::new("precious");
    let path = folder.file("a.sock");
    fs::write(&path, "precious").unwrap();
    assert!(listen(&path, access(0o600)).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
    let other = folder.file("b.sock");
    drop(UnixListener::bind(&other).unwrap());
    symlink(&other, &path).unwrap();
    assert!(listen(&path, access(0o600)).is_err());
    assert!(other.exists());
}
