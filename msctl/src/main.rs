//! Shows and steers a running multistack
fn main() {}
