//! HTTP/1.1 requests and response heads (RFC 9110, RFC 9112), without any I/O.

use std::io::Write;

/// Longest request head in bytes: request line and header section.
pub const MAX_HEAD: usize = 8192;
const MAX_HEADERS: usize = 64;

/// What this server can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The file follows.
    Ok,
    /// A directory was asked for without the slash at the end.
    MovedPermanently,
    /// Not HTTP, or a path that leaves the root.
    BadRequest,
    /// No such file, or none that may be read.
    NotFound,
    /// Neither GET nor HEAD.
    MethodNotAllowed,
    /// The head is longer than [`MAX_HEAD`] or has too many fields.
    HeadTooLarge,
    /// No file descriptor left.
    Unavailable,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    VersionNotSupported,
}

impl Status {
    const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::MovedPermanently => "301 Moved Permanently",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// A request that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// GET or HEAD; None for any other method.
    pub method: Option<Method>,
    /// The path as it was sent: percent-encoded, beginning with a slash, without query.
    pub path: &'a str,
    /// The query with its question mark, or nothing.
    pub query: &'a str,
    /// Whether the connection stays open after the answer. Never if a body follows: it is not
    /// read.
    pub keep_alive: bool,
    /// HTTP/1.0.
    pub is_1_0: bool,
}

/// The methods that this server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The file.
    Get,
    /// Only what its response's head would be.
    Head,
}

/// What the bytes received so far hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Not yet a whole head.
    Partial,
    /// A whole head, and its length in bytes.
    Request(Request<'a>, usize),
    /// Nothing that can be answered but by this and the end of the connection: where the next
    /// request would begin isn't known.
    Refused(Status),
}

/// Parses the first request of `bytes`.
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut raw = httparse::Request::new(&mut headers);
    let len = match raw.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Parsed::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Refused(Status::HeadTooLarge);
        }
        Err(httparse::Error::Version) => return Parsed::Refused(Status::VersionNotSupported),
        Err(_) => return Parsed::Refused(Status::BadRequest),
    };
    match request(&raw) {
        Some(request) => Parsed::Request(request, len),
        None => Parsed::Refused(Status::BadRequest),
    }
}

fn request<'a>(raw: &httparse::Request<'_, 'a>) -> Option<Request<'a>> {
    let is_1_0 = raw.version? == 0;
    let fields = Fields::read(raw.headers)?;
    // RFC 9112 section 3.2: none or several of them must be refused.
    if fields.hosts > 1 || (fields.hosts == 0 && !is_1_0) {
        return None;
    }
    let target = path_and_query(raw.path?)?;
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    Some(Request {
        method: match raw.method? {
            "GET" => Some(Method::Get),
            "HEAD" => Some(Method::Head),
            _ => None,
        },
        path,
        query,
        keep_alive: !fields.close && !fields.has_body && (!is_1_0 || fields.keep_alive),
        is_1_0,
    })
}

/// What the header section says about the connection.
#[derive(Default)]
struct Fields {
    hosts: usize,
    has_body: bool,
    close: bool,
    keep_alive: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Option<Self> {
        let mut fields = Self::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("host") {
                fields.hosts += 1;
            } else if header.name.eq_ignore_ascii_case("connection") {
                for option in header.value.split(|&byte| byte == b',') {
                    let option = option.trim_ascii();
                    fields.close |= option.eq_ignore_ascii_case(b"close");
                    fields.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if header.name.eq_ignore_ascii_case("content-length") {
                let length = header.value.trim_ascii();
                if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
                    return None;
                }
                fields.has_body |= length.iter().any(|&digit| digit != b'0');
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                fields.has_body = true;
            }
        }
        Some(fields)
    }
}

/// The path and query of a target in origin form, or in absolute form, which every server must
/// take (RFC 9112 section 3.2.2).
fn path_and_query(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    match rest.find(['/', '?']) {
        Some(end) if rest[end..].starts_with('/') => Some(&rest[end..]),
        _ => Some("/"),
    }
}

/// The head of a response.
#[derive(Debug)]
pub struct Head<'a> {
    /// Its status.
    pub status: Status,
    /// Bytes of the body that follows, or would follow if the request was not HEAD.
    pub length: u64,
    /// Media type of the body.
    pub content_type: &'a str,
    /// Path and query to go to instead.
    pub location: Option<&'a str>,
    /// As in [`Request`].
    pub keep_alive: bool,
    /// As in [`Request`].
    pub is_1_0: bool,
}

impl Head<'_> {
    /// Appends the head to `out`. `date` is the time in the form of RFC 9110 section 5.6.7.
    pub fn write(&self, date: &str, out: &mut Vec<u8>) {
        let Self {
            length,
            content_type,
            ..
        } = self;
        let line = self.status.line();
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "HTTP/1.1 {line}\r\nServer: multistack\r\nDate: {date}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {length}\r\n"
        );
        if let Some(location) = self.location {
            let _ = write!(out, "Location: {location}\r\n");
        }
        if self.status == Status::MethodNotAllowed {
            out.extend_from_slice(b"Allow: GET, HEAD\r\n");
        }
        if !self.keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if self.is_1_0 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a whole response that consists of its status to `out`; without its body to a HEAD.
pub fn write_status(
    status: Status,
    location: Option<&str>,
    request: Option<&Request<'_>>,
    date: &str,
    out: &mut Vec<u8>,
) {
    let body = status.line();
    let head = Head {
        status,
        length: body.len() as u64 + 1,
        content_type: "text/plain; charset=utf-8",
        location,
        keep_alive: request.is_some_and(|request| request.keep_alive),
        is_1_0: request.is_some_and(|request| request.is_1_0),
    };
    head.write(date, out);
    if request.and_then(|request| request.method) != Some(Method::Head) {
        out.extend_from_slice(body.as_bytes());
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(bytes: &str) -> Request<'_> {
        match parse(bytes.as_bytes()) {
            Parsed::Request(request, _) => request,
            other => panic!("{bytes:?}: {other:?}"),
        }
    }

    fn refused(bytes: &str) -> Status {
        match parse(bytes.as_bytes()) {
            Parsed::Refused(status) => status,
            other => panic!("{bytes:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_known_at_its_last_byte_and_no_sooner() {
        let bytes = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\nGET /next";
        for len in 0..bytes.len() - 9 {
            assert_eq!(parse(&bytes[..len]), Parsed::Partial, "{len} bytes");
        }
        let expected = Request {
            method: Some(Method::Get),
            path: "/a",
            query: "?b=c",
            keep_alive: true,
            is_1_0: false,
        };
        assert_eq!(parse(bytes), Parsed::Request(expected, bytes.len() - 9));
    }

    #[test]
    fn persistence_follows_rfc_9112_section_9_3() {
        assert!(ok("GET / HTTP/1.1\r\nHost: x\r\n\r\n").keep_alive);
        assert!(!ok("GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n").keep_alive);
        assert!(!ok("GET / HTTP/1.1\r\nHost: x\r\nConnection: te, close\r\n\r\n").keep_alive);
        assert!(!ok("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(ok("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
        assert!(!ok("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n").keep_alive);
    }

    #[test]
    fn a_connection_with_a_body_that_is_not_read_ends() {
        let with = |field: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n");
        assert!(!ok(&with("Content-Length: 5")).keep_alive);
        assert!(!ok(&with("Transfer-Encoding: chunked")).keep_alive);
        assert!(ok(&with("Content-Length: 0")).keep_alive);
        assert_eq!(refused(&with("Content-Length: -1")), Status::BadRequest);
        assert_eq!(refused(&with("Content-Length: ")), Status::BadRequest);
    }

    #[test]
    fn one_host_is_needed_except_in_1_0() {
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Status::BadRequest);
        assert_eq!(
            refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            Status::BadRequest
        );
        assert!(ok("GET / HTTP/1.0\r\n\r\n").is_1_0);
    }

    #[test]
    fn targets() {
        let path = |target: &str| {
            let bytes = format!("GET {target} HTTP/1.0\r\n\r\n");
            match parse(bytes.as_bytes()) {
                Parsed::Request(request, _) => Some(request.path.to_owned()),
                _ => None,
            }
        };
        assert_eq!(path("/a/b?c").as_deref(), Some("/a/b"));
        assert_eq!(path("http://host/a?c").as_deref(), Some("/a"));
        assert_eq!(path("HTTP://host").as_deref(), Some("/"));
        assert_eq!(path("http://host?q=/a").as_deref(), Some("/"));
        assert_eq!(path("*"), None);
        assert_eq!(path("host:80"), None);
        assert_eq!(path("ftp://host/a"), None);
    }

    #[test]
    fn what_is_not_http_1_is_refused() {
        assert_eq!(refused("\x16\x03\x01\r\n\r\n"), Status::BadRequest);
        assert_eq!(
            refused("GET / HTTP/1.1\r\nHost x\r\n\r\n"),
            Status::BadRequest
        );
        assert_eq!(
            refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            Status::VersionNotSupported
        );
    }

    #[test]
    fn heads_are_bounded() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD));
        assert_eq!(parse(&long.as_bytes()[..MAX_HEAD - 1]), Parsed::Partial);
        assert_eq!(refused(&long[..MAX_HEAD]), Status::HeadTooLarge);
        let many = "X: y\r\n".repeat(MAX_HEADERS + 1);
        assert_eq!(
            refused(&format!("GET / HTTP/1.0\r\n{many}\r\n")),
            Status::HeadTooLarge
        );
    }

    #[test]
    fn status_responses_have_the_length_they_claim() {
        let request = ok("POST / HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut out = vec![];
        write_status(
            Status::MethodNotAllowed,
            None,
            Some(&request),
            "D",
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "405 Method Not Allowed\n");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(head.contains("Allow: GET, HEAD"));
        assert!(head.contains("Date: D"));
        assert!(!head.contains("Connection"));
    }

    #[test]
    fn a_head_request_gets_no_body_but_its_length() {
        let request = ok("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let mut out = vec![];
        write_status(Status::NotFound, None, Some(&request), "D", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("\r\n\r\n"));
        assert!(text.contains("Content-Length: 14\r\n"));
        assert!(text.contains("Connection: keep-alive\r\n"));
    }
}
