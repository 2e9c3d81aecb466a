//! Connections that do not speak gRPC: random bytes, half of an HTTP/2 handshake, HTTP/1 requests,
//! connections that are reset in the middle.
//!
//! Deliberately absent: expectations. The node may close the connection at any time; it may not
//! fail.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dice::Dice;
use crate::tally::Tally;

const KIND: &str = "(noise)";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Empty settings, then the first frame of a request that never continues.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PATIENCE: Duration = Duration::from_millis(50);

pub(crate) struct Noise {
    pub(crate) address: SocketAddr,
    pub(crate) dice: Dice,
    pub(crate) until: Instant,
}

impl Noise {
    pub(crate) async fn run(mut self) -> Tally {
        let mut tally = Tally::default();
        while Instant::now() < self.until {
            tally.called(KIND);
            let stream = TcpStream::connect(self.address).await.expect("the node listens");
            let bytes = self.bytes();
            self.speak(stream, &bytes).await;
        }
        tally
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.dice.below(2000) as usize;
        let random = self.dice.bytes(length);
        match self.dice.below(5) {
            0 => b"GET /understudy.v1.Metadata/Exists HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            1 => PREFACE[..self.dice.below(PREFACE.len() as u64) as usize].to_vec(),
            2 => [PREFACE, SETTINGS, &random].concat(),
            3 => [PREFACE, SETTINGS, &self.frames()].concat(),
            _ => random,
        }
    }

    /// Frames of every type with valid lengths and invalid contents.
    fn frames(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.dice.below(20) {
            let length = self.dice.below(64) as usize;
            out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
            out.push(self.dice.below(11) as u8);
            out.push(self.dice.next() as u8);
            out.extend_from_slice(&(self.dice.below(8) as u32).to_be_bytes());
            out.extend_from_slice(&self.dice.bytes(length));
        }
        out
    }

    async fn speak(&mut self, mut stream: TcpStream, bytes: &[u8]) {
        if self.dice.once_in(2) {
            // Closed with a reset, not in good order.
            stream.set_zero_linger().expect("it is a socket");
        }
        // The node may have closed it already, which is allowed.
        let _ = stream.write_all(bytes).await;
        let mut answer = [0; 1024];
        while let Ok(Ok(1..)) = timeout(PATIENCE, stream.read(&mut answer)).await {}
    }
}
