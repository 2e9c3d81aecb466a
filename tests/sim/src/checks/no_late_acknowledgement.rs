//! No member acknowledges, or answers a read, after a later epoch has begun to.

use election::Incarnation;

use super::violated;

#[derive(Debug, Default)]
pub(crate) struct Latest {
    epoch: u64,
    who: Option<Incarnation>,
}

impl Latest {
    pub(crate) fn acts(&mut self, who: Incarnation, epoch: u64) {
        if epoch < self.epoch {
            violated!("{who:?} answered in epoch {epoch}, after {:?} had in epoch {}", self.who, self.epoch);
        }
        (self.epoch, self.who) = (epoch, Some(who));
    }
}
