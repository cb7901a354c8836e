//! The switch: workers, claims, control
