//! Who has something that several may have, such as claims on one address.

use std::collections::HashMap;

/// Vports, each with the number of its claims.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares(Vec<(u16, u32)>);

impl Shares {
    pub(crate) fn add(&mut self, vport: u16) {
        match self.0.iter_mut().find(|(v, _)| *v == vport) {
            Some((_, claims)) => *claims += 1,
            None => self.0.push((vport, 1)),
        }
    }

    pub(crate) fn remove(&mut self, vport: u16) {
        if let Some(at) = self.0.iter().position(|(v, _)| *v == vport) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.swap_remove(at);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Each once.
pub(crate) fn vports(shares: Option<&Shares>) -> impl ExactSizeIterator<Item = u16> + '_ {
    let shares = shares.map_or(&[][..], |shares| &shares.0);
    shares.iter().map(|(vport, _)| *vport)
}

/// One claim less.
pub(crate) fn take_share<K: Eq + std::hash::Hash>(
    map: &mut HashMap<K, Shares>,
    key: &K,
    vport: u16,
) {
    if let Some(shares) = map.get_mut(key) {
        shares.remove(vport);
        if shares.is_empty() {
            map.remove(key);
        }
    }
}
