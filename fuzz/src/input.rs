//! An input that is read front to back, so that libFuzzer's splices and insertions keep their
//! meaning.
//!
//! Invariant: an input that ends early continues with zeros if a number is read; a loop must ask
//! `is_empty`.

/// What is left of an input.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub fn u8(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.u8()))
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.u16()) % bound
    }

    /// Bytes with their length before them; fewer if the input ends.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.u16()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// Something valid, with a few of its bytes changed.
    pub fn edited(&mut self, valid: &[u8]) -> Vec<u8> {
        let mut bytes = valid.to_vec();
        for _ in 0..self.u8() % 8 {
            self.edit(&mut bytes);
        }
        bytes
    }

    fn edit(&mut self, bytes: &mut Vec<u8>) {
        let kind = self.u8();
        let at = self.below(bytes.len() + 1);
        match kind % 5 {
            0 => bytes.insert(at, self.u8()),
            1 => bytes.truncate(at),
            2 => bytes.splice(at..at, self.bytes().iter().copied()).for_each(drop),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = self.u8(),
            _ => bytes.push(self.u8()),
        }
    }
}
