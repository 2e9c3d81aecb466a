//! How a session's messages are written and read.
//!
//! The caller encodes its request without the id, so that callers encode in parallel and all
//! attempts send the same bytes. The id is appended here: fields of a message may come in any
//! order.

use bytes::{BufMut as _, Bytes};
use prost::Message as _;
use proto::v1::{SessionRequest, SessionResponse};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstDecoder};

/// The most bytes that the id adds to a request.
pub(crate) const ID_BYTES_MAX: usize = 11;
/// Requests that are ready go out together, up to about this size.
const BATCH_BYTES: usize = 32 << 10;

#[derive(Debug)]
pub(crate) struct SessionCodec;

#[derive(Debug)]
pub(crate) struct RequestEncoder;

fn buffers() -> BufferSettings {
    BufferSettings::new(BATCH_BYTES, BATCH_BYTES)
}

impl Codec for SessionCodec {
    type Encode = (u64, Bytes);
    type Decode = SessionResponse;
    type Encoder = RequestEncoder;
    type Decoder = ProstDecoder<SessionResponse>;

    fn encoder(&mut self) -> RequestEncoder {
        RequestEncoder
    }

    fn decoder(&mut self) -> ProstDecoder<SessionResponse> {
        ProstCodec::<SessionRequest, SessionResponse>::raw_decoder(buffers())
    }
}

impl Encoder for RequestEncoder {
    type Item = (u64, Bytes);
    type Error = Status;

    fn encode(&mut self, (id, request): (u64, Bytes), buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put_slice(&request);
        let id = SessionRequest { id, call: None };
        id.encode(buf).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proto::v1::session_request::Call;
    use proto::v1::{Caller, ExistsRequest};

    use super::*;

    #[test]
    fn request_with_the_id_behind_it_reads_as_one_message() {
        let caller = Some(Caller { request_number: 7, ..Default::default() });
        let call = Call::Exists(ExistsRequest { caller, keys: vec![Bytes::from_static(b"k")], standby: None });
        let mut bytes = BytesMut::new();
        call.encode(&mut bytes);
        for id in [1, u64::MAX] {
            let mut message = bytes.clone();
            SessionRequest { id, call: None }.encode(&mut message).expect("there is room");
            assert!(message.len() <= bytes.len() + ID_BYTES_MAX);
            let read = SessionRequest::decode(message.freeze()).expect("is one message");
            assert_eq!(read, SessionRequest { id, call: Some(call.clone()) });
        }
    }
}
