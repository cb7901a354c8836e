//! Which control socket is meant if none is named.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Where primaries put their control sockets.
pub const DIRECTORY: &str = "/run/multistack";

/// The one with EAL's default `--file-prefix`.
pub const DEFAULT_NAME: &str = "rte.sock";

/// `rte.sock` in `directory`, or the only other socket there. If there is none at all, still
/// `rte.sock`: then connecting says what is wrong.
///
/// # Errors
/// A sentence that names the sockets, if there are several.
pub fn find(directory: &Path) -> Result<PathBuf, String> {
    let default = directory.join(DEFAULT_NAME);
    if default.exists() {
        return Ok(default);
    }
    let mut names = sockets_in(directory);
    match names.len() {
        0 => Ok(default),
        1 => Ok(directory.join(names.remove(0))),
        _ => {
            let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
            Err(format!(
                "{} does not exist, but there are {}: choose with --socket",
                default.display(),
                names.join(", ")
            ))
        }
    }
}

/// Names in order; none if the directory cannot be read.
fn sockets_in(directory: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()))
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("msctl-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn add(&self, name: &str) {
            // The file stays when the listener goes.
            drop(UnixListener::bind(self.0.join(name)).unwrap());
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn nothing_there_means_the_default() {
        let directory = Directory::new("none");
        assert_eq!(find(&directory.0), Ok(directory.0.join("rte.sock")));
        let missing = directory.0.join("missing");
        assert_eq!(find(&missing), Ok(missing.join("rte.sock")));
    }

    #[test]
    fn the_default_comes_before_others() {
        let directory = Directory::new("default");
        directory.add("a.sock");
        directory.add("b.sock");
        directory.add("rte.sock");
        assert_eq!(find(&directory.0), Ok(directory.0.join("rte.sock")));
    }

    #[test]
    fn the_only_other_socket_is_taken() {
        let directory = Directory::new("one");
        fs::write(directory.0.join("a.pid"), "1").unwrap();
        directory.add("xt.sock");
        assert_eq!(find(&directory.0), Ok(directory.0.join("xt.sock")));
    }

    #[test]
    fn several_others_are_named() {
        let directory = Directory::new("several");
        directory.add("b.sock");
        directory.add("a.sock");
        let message = find(&directory.0).unwrap_err();
        assert!(message.ends_with("there are a.sock, b.sock: choose with --socket"));
    }
}
