//! A UDP echo stack: the smallest user of port-api
fn main() {}
