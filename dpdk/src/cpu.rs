//! Code for what this CPU has, chosen when the program runs.

use dpdk_sys as c;

/// A piece of work that is worth being compiled for several kinds of CPU.
pub trait Kernel {
    /// Does it. To be `#[inline(always)]`, with all that it calls: what is not inlined is compiled for
    /// every CPU.
    fn run(self);
}

/// What a [`Kernel`] may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu(Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Cpu {
    /// What this CPU has, as far as EAL allows it: vectors of up to 256 bits on x86-64 unless
    /// `--force-max-simd-bitwidth` says otherwise (`rte_vect_get_max_simd_bitwidth`). Before EAL is initialised,
    /// nothing special.
    pub fn allowed() -> Self {
        // SAFETY: reads a field of EAL's configuration, which is static.
        let bits = unsafe { c::ms_max_simd_bits() };
        let is_allowed = |cpu: &Self| cpu.vector_bits() <= bits;
        let best = Self::supported().into_iter().rfind(is_allowed);
        best.unwrap_or(Self(Level::Portable))
    }

    /// All that this CPU can run, the best last.
    pub fn supported() -> Vec<Self> {
        let mut all = vec![Self(Level::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                all.push(Self(Level::Avx2));
            }
            let has_512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if has_512 {
                all.push(Self(Level::Avx512));
            }
        }
        all
    }

    fn vector_bits(self) -> u16 {
        match self.0 {
            Level::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => 256,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => 512,
        }
    }

    /// Runs it.
    #[inline]
    pub fn run(self, kernel: impl Kernel) {
        match self.0 {
            Level::Portable => kernel.run(),
            // SAFETY: supported() has found these features, and only it makes such a value.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { with_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { with_avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(kernel: impl Kernel) {
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512(kernel: impl Kernel) {
    kernel.run();
}
