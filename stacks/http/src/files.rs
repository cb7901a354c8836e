//! From the path of a request to an open file below the root.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

use crate::http::Status;

const INDEX: &[u8] = b"index.html";

/// The directory whose files are served.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
}

/// What a path leads to.
#[derive(Debug)]
pub enum Found {
    /// A regular file.
    File {
        /// Open to be read.
        file: File,
        /// Its length in bytes when it was opened.
        len: u64,
        /// Its media type, by its extension.
        content_type: &'static str,
    },
    /// A directory, asked for without the slash at the end that relative links in its index need.
    Directory,
}

impl Root {
    /// Opens the directory.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = open(path, flags, Mode::empty())?;
        Ok(Self { dir })
    }

    /// Opens the file that `url_path` names: percent-encoded, beginning with a slash. A path that
    /// ends in a slash names the directory's `index.html`.
    ///
    /// The kernel refuses whatever leads out of the root on the way, symbolic links included
    /// (openat2(2), `RESOLVE_BENEATH`): absolute links are refused even if they lead back in.
    ///
    /// # Errors
    /// [`Status::BadRequest`] for a path that is malformed or has `..` in it, [`Status::NotFound`]
    /// for what is not there, may not be read or is not a file, [`Status::Unavailable`] if the
    /// process or the system has too many open files.
    pub(crate) fn find(&self, url_path: &str) -> Result<Found, Status> {
        let path = relative(url_path).ok_or(Status::BadRequest)?;
        // Without O_NONBLOCK, opening a FIFO would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let fd =
            openat2(&self.dir, path.as_slice(), flags, Mode::empty(), beneath).map_err(status)?;
        let stat = fstat(&fd).map_err(status)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Found::File {
                file: File::from(fd),
                len: u64::try_from(stat.st_size).unwrap_or(0),
                content_type: content_type(&path),
            }),
            // A directory called index.html is no index.
            FileType::Directory if !url_path.ends_with('/') => Ok(Found::Directory),
            _ => Err(Status::NotFound),
        }
    }
}

fn status(error: Errno) -> Status {
    match error {
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => Status::Unavailable,
        _ => Status::NotFound,
    }
}

/// The path below the root, decoded. None if it is malformed or would leave the root.
fn relative(url_path: &str) -> Option<Vec<u8>> {
    let decoded = percent_decode(url_path)?;
    let mut path = Vec::with_capacity(decoded.len() + INDEX.len());
    let mut segments = decoded
        .strip_prefix(b"/")?
        .split(|&byte| byte == b'/')
        .peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b".." => return None,
            b"" | b"." if segments.peek().is_some() => {}
            b"" | b"." => path.extend_from_slice(INDEX),
            _ => {
                path.extend_from_slice(segment);
                if segments.peek().is_some() {
                    path.push(b'/');
                }
            }
        }
    }
    Some(path)
}

/// RFC 3986 section 2.1. None for what is not two hexadecimal digits after a percent sign, and for
/// NUL, which no path can hold.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => u8::try_from(digit(bytes.next())? << 4 | digit(bytes.next())?).ok()?,
            other => other,
        };
        if byte == 0 {
            return None;
        }
        decoded.push(byte);
    }
    Some(decoded)
}

fn content_type(path: &[u8]) -> &'static str {
    let extension = match path.iter().rposition(|&byte| byte == b'.' || byte == b'/') {
        Some(at) if path[at] == b'.' => path[at + 1..].to_ascii_lowercase(),
        _ => vec![],
    };
    match extension.as_slice() {
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"css" => "text/css; charset=utf-8",
        b"js" | b"mjs" => "text/javascript; charset=utf-8",
        b"txt" | b"md" => "text/plain; charset=utf-8",
        b"json" => "application/json",
        b"xml" => "application/xml",
        b"pdf" => "application/pdf",
        b"wasm" => "application/wasm",
        b"svg" => "image/svg+xml",
        b"png" => "image/png",
        b"jpg" | b"jpeg" => "image/jpeg",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"ico" => "image/x-icon",
        b"woff2" => "font/woff2",
        b"mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn path(url: &str) -> Option<String> {
        relative(url).map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn paths_are_decoded_and_stay_below_the_root() {
        assert_eq!(path("/").as_deref(), Some("index.html"));
        assert_eq!(path("/a/b.txt").as_deref(), Some("a/b.txt"));
        assert_eq!(path("/a/").as_deref(), Some("a/index.html"));
        assert_eq!(path("//a///b").as_deref(), Some("a/b"));
        assert_eq!(path("/./a/./b").as_deref(), Some("a/b"));
        assert_eq!(path("/a/.").as_deref(), Some("a/index.html"));
        assert_eq!(path("/a%20b%2fc").as_deref(), Some("a b/c"));
        assert_eq!(path("/..a/b..").as_deref(), Some("..a/b.."));
        for bad in [
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/%2e%2e/a",
            "/a%2f..%2Fb",
            "/.%2E",
            "/%",
            "/%4",
            "/%zz",
            "/a%00b",
            "",
            "a",
        ] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }

    #[test]
    fn media_types_go_by_the_last_extension_of_the_name() {
        assert_eq!(content_type(b"a/index.HTML"), "text/html; charset=utf-8");
        assert_eq!(content_type(b"a.tar.png"), "image/png");
        assert_eq!(content_type(b"a.html/file"), "application/octet-stream");
        assert_eq!(content_type(b"file"), "application/octet-stream");
    }

    /// A directory that vanishes with it.
    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("stack-http-{}-{name}", std::process::id()));
            fs::create_dir_all(dir.join("root/sub")).unwrap();
            fs::write(dir.join("outside"), "secret").unwrap();
            fs::write(dir.join("root/file.txt"), "hello").unwrap();
            fs::write(dir.join("root/sub/index.html"), "<p>").unwrap();
            Self(dir)
        }

        fn root(&self) -> Root {
            Root::open(&self.0.join("root")).unwrap()
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn files_directories_and_what_is_not_there() {
        let dir = TempDir::new("find");
        let root = dir.root();
        let Ok(Found::File {
            len, content_type, ..
        }) = root.find("/file.txt")
        else {
            panic!("no file");
        };
        assert_eq!((len, content_type), (5, "text/plain; charset=utf-8"));
        assert!(matches!(root.find("/sub/"), Ok(Found::File { len: 3, .. })));
        assert!(matches!(root.find("/sub"), Ok(Found::Directory)));
        for missing in ["/", "/none", "/file.txt/", "/sub/none", "/file.txt/x"] {
            assert_eq!(
                root.find(missing).err(),
                Some(Status::NotFound),
                "{missing}"
            );
        }
        let long = format!("/{}", "a".repeat(5000));
        assert_eq!(root.find(&long).err(), Some(Status::NotFound));
        assert_eq!(root.find("/../outside").err(), Some(Status::BadRequest));
    }

    #[test]
    fn links_lead_anywhere_below_the_root_and_nowhere_else() {
        let dir = TempDir::new("links");
        let root = dir.root();
        let link =
            |target: &str, name: &str| symlink(target, dir.0.join("root").join(name)).unwrap();
        link("file.txt", "inside");
        link("../file.txt", "sub/inside");
        link("../outside", "escape");
        link("/etc/passwd", "absolute");
        link("..", "up");
        link("loop", "loop");
        assert!(matches!(
            root.find("/inside"),
            Ok(Found::File { len: 5, .. })
        ));
        assert!(matches!(
            root.find("/sub/inside"),
            Ok(Found::File { len: 5, .. })
        ));
        for bad in ["/escape", "/absolute", "/up/outside", "/loop"] {
            assert_eq!(root.find(bad).err(), Some(Status::NotFound), "{bad}");
        }
    }

    #[test]
    fn only_regular_files_are_served() {
        let dir = TempDir::new("fifo");
        let fifo = dir.0.join("root/fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        assert_eq!(dir.root().find("/fifo").err(), Some(Status::NotFound));
    }
}
