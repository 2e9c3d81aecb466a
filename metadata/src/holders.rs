//! Who lies in a segment: a list that is drawn from at any place, and that closes a gap with its last one.
//!
//! It is kept in chunks, since a list in one piece copies all it has when it grows, under the writer's lock: 8 MB in
//! the middle of the second million objects.
//!
//! Invariant: every chunk but the last is full, and none is empty.

use crate::hash::KeyHash;

/// 32 KiB: what growing costs at most.
const CHUNK: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Holders {
    chunks: Vec<Vec<KeyHash>>,
}

impl Holders {
    pub(crate) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn get(&self, at: usize) -> Option<KeyHash> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK).copied()
    }

    pub(crate) fn push(&mut self, holder: KeyHash) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(holder),
            Some(_) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(holder);
                self.chunks.push(chunk);
            }
            // Many segments hold little; theirs grows as any list does.
            None => self.chunks.push(vec![holder]),
        }
    }

    /// The last one takes the place of the one that goes. `None`: there is none at `at`, and nothing has changed.
    pub(crate) fn swap_remove(&mut self, at: usize) -> Option<KeyHash> {
        let gone = self.get(at)?;
        let moved = self.pop()?;
        if at < self.len() {
            self.chunks[at / CHUNK][at % CHUNK] = moved;
        }
        Some(gone)
    }

    fn pop(&mut self) -> Option<KeyHash> {
        let last = self.chunks.last_mut()?;
        let holder = last.pop();
        if last.is_empty() {
            self.chunks.pop();
        }
        holder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_what_a_list_in_one_piece_does() {
        let (mut holders, mut list) = (Holders::default(), Vec::new());
        let mut random = oplog::Rng::new(7);
        // Up over two chunks and down to nothing, with some of the other all the way.
        for (steps, growing) in [(20_000, 4), (40_000, 1)] {
            for step in 0..steps {
                if random.below(5) < growing {
                    holders.push(KeyHash(step));
                    list.push(KeyHash(step));
                } else {
                    let at = random.below(list.len() + 1);
                    let gone = (at < list.len()).then(|| list.swap_remove(at));
                    assert_eq!(holders.swap_remove(at), gone);
                }
                assert_eq!((holders.len(), holders.is_empty()), (list.len(), list.is_empty()));
                let at = random.below(list.len() + 1);
                assert_eq!(holders.get(at), list.get(at).copied());
            }
            assert!(growing == 1 || list.len() > 2 * CHUNK, "{}", list.len());
        }
        while let Some(at) = list.len().checked_sub(1) {
            assert_eq!(holders.swap_remove(at), list.pop());
        }
        assert!(holders.is_empty() && holders.chunks.is_empty());
    }
}
