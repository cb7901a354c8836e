//! An HTTP/1.1 server on smoltcp over port-api
fn main() {}
