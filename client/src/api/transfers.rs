//! Copies and moves of replicas that this client makes itself.

use proto::v1;

use crate::answers::{Items, TransferStarted};
use crate::calls;
use crate::client::Client;
use crate::convert::{self, Segments, check_items, position};
use crate::error::Error;
use crate::items::{CopyStartItem, MoveStartItem, TransferFinishItem};

impl Client {
    /// Gets space for further replicas. Copy the bytes, then call [`Client::copy_end`].
    pub async fn copy_start(&self, items: &[CopyStartItem]) -> Result<Items<TransferStarted>, Error> {
        check_items("items", items.len())?;
        let wire = |item: &CopyStartItem| v1::CopyStartItem {
            key: item.key.clone(),
            source_segment: item.source_segment.clone(),
            target_segments: item.target_segments.clone(),
        };
        let request = |caller| {
            let items = items.iter().map(wire).collect();
            calls::CopyStart(v1::CopyStartRequest { caller: Some(caller), items })
        };
        started("CopyStart", items.len(), self.call(request).await?)
    }

    /// The copies are written: readers find them from now on.
    pub async fn copy_end(&self, items: &[TransferFinishItem]) -> Result<Items<()>, Error> {
        check_items("items", items.len())?;
        finished("CopyEnd", items.len(), self.call(|caller| calls::CopyEnd(finish(caller, items))).await?)
    }

    /// Gives the copies up.
    pub async fn copy_revoke(&self, items: &[TransferFinishItem]) -> Result<Items<()>, Error> {
        check_items("items", items.len())?;
        finished("CopyRevoke", items.len(), self.call(|caller| calls::CopyRevoke(finish(caller, items))).await?)
    }

    /// Gets space for replicas in other segments. Copy the bytes, then call [`Client::move_end`].
    pub async fn move_start(&self, items: &[MoveStartItem]) -> Result<Items<TransferStarted>, Error> {
        check_items("items", items.len())?;
        let wire = |item: &MoveStartItem| v1::MoveStartItem {
            key: item.key.clone(),
            source_segment: item.source_segment.clone(),
            target_segment: item.target_segment.clone(),
        };
        let request = |caller| {
            let items = items.iter().map(wire).collect();
            calls::MoveStart(v1::MoveStartRequest { caller: Some(caller), items })
        };
        started("MoveStart", items.len(), self.call(request).await?)
    }

    /// The moved replicas are written: readers find them, and the old ones are dropped.
    pub async fn move_end(&self, items: &[TransferFinishItem]) -> Result<Items<()>, Error> {
        check_items("items", items.len())?;
        finished("MoveEnd", items.len(), self.call(|caller| calls::MoveEnd(finish(caller, items))).await?)
    }

    /// Gives the moves up: the replicas stay where they were.
    pub async fn move_revoke(&self, items: &[TransferFinishItem]) -> Result<Items<()>, Error> {
        check_items("items", items.len())?;
        finished("MoveRevoke", items.len(), self.call(|caller| calls::MoveRevoke(finish(caller, items))).await?)
    }
}

fn finish(caller: v1::Caller, items: &[TransferFinishItem]) -> v1::TransferFinishRequest {
    let wire =
        |item: &TransferFinishItem| v1::TransferFinishItem { key: item.key.clone(), transfer_id: item.transfer_id };
    v1::TransferFinishRequest { caller: Some(caller), items: items.iter().map(wire).collect() }
}

fn finished(call: &'static str, asked: usize, answer: v1::TransferFinishResponse) -> Result<Items<()>, Error> {
    convert::items(call, asked, answer.position, answer.results)
}

pub(crate) fn started(
    call: &'static str,
    asked: usize,
    answer: v1::TransferStartResponse,
) -> Result<Items<TransferStarted>, Error> {
    let segments = Segments::new(call, answer.segments)?;
    let one = |result: v1::TransferStartResult| {
        let source = result.source.ok_or_else(|| Error::protocol(call, "a transfer without a source"))?;
        Ok(TransferStarted {
            transfer_id: result.transfer_id,
            size: result.size,
            source: segments.replica(source)?,
            targets: segments.replicas(result.targets)?,
        })
    };
    Ok(Items { position: position(answer.position), results: convert::results(call, asked, answer.results, one)? })
}
