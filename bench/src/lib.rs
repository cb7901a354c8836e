//! Throughput runs in the manner of testpmd
