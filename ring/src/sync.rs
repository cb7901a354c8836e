//! The atomics that rings and doorbells are made of: the CPU's own, or, with `--cfg loom`, those of the
//! model checker (`make model`).

#[cfg(not(loom))]
pub use core::sync::atomic::{
    AtomicU32, AtomicU32 as Slot32, AtomicU64, AtomicU64 as Slot64, Ordering, fence,
};

#[cfg(loom)]
pub use self::model::{Slot32, Slot64};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
mod model {
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::Ordering;

    /// A slot that is no atomic at all: the checker refuses every read and write of it that the
    /// cursors do not put in order. That asks for more than relaxed atomics need, and finds what the
    /// checker would miss with them: it never lets a load see a store that comes later.
    pub struct Slot<T>(UnsafeCell<T>);

    pub type Slot32 = Slot<u32>;
    pub type Slot64 = Slot<u64>;

    // SAFETY: the checker runs one thread at a time, and stops at an access that is not ordered.
    unsafe impl<T: Send> Sync for Slot<T> {}

    impl<T: Copy> Slot<T> {
        #[cfg(test)]
        pub fn new(value: T) -> Self {
            Self(UnsafeCell::new(value))
        }

        pub fn load(&self, _: Ordering) -> T {
            // SAFETY: as for `Sync`.
            self.0.with(|value| unsafe { *value })
        }

        pub fn store(&self, new: T, _: Ordering) {
            // SAFETY: as for `Sync`.
            self.0.with_mut(|value| unsafe { *value = new });
        }
    }
}
