//! First in, first out, in chunks: a queue in one piece copies all it has when it grows, under the writer's lock, and
//! a client may well remove a million leased objects at once.
//!
//! Invariant: every chunk between the first and the last is full, and none is empty.

use std::collections::VecDeque;

const CHUNK: usize = 1024;

#[derive(Debug)]
pub(crate) struct Queue<T> {
    chunks: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { chunks: VecDeque::new(), len: 0 }
    }
}

impl<T> Queue<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    pub(crate) fn push_back(&mut self, item: T) {
        self.len += 1;
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => last.push_back(item),
            Some(_) => {
                let mut chunk = VecDeque::with_capacity(CHUNK);
                chunk.push_back(item);
                self.chunks.push_back(chunk);
            }
            None => self.chunks.push_back(VecDeque::from([item])),
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.chunks.front_mut()?;
        let item = first.pop_front();
        if first.is_empty() {
            self.chunks.pop_front();
        }
        self.len -= usize::from(item.is_some());
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_what_a_queue_in_one_piece_does() {
        let (mut queue, mut plain) = (Queue::default(), VecDeque::new());
        let mut random = oplog::Rng::new(3);
        for (steps, growing) in [(6 * CHUNK, 4), (12 * CHUNK, 1)] {
            for step in 0..steps {
                if random.below(5) < growing {
                    queue.push_back(step);
                    plain.push_back(step);
                } else {
                    assert_eq!(queue.pop_front(), plain.pop_front());
                }
                assert_eq!(queue.len(), plain.len());
            }
            assert!(queue.iter().eq(plain.iter()));
            assert!(growing == 1 || plain.len() > 2 * CHUNK, "{}", plain.len());
        }
        while let Some(item) = plain.pop_front() {
            assert_eq!(queue.pop_front(), Some(item));
        }
        assert!(queue.pop_front().is_none() && queue.chunks.is_empty());
    }
}
