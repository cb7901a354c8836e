//! The exception path: unclaimed packets to and from the host kernel
