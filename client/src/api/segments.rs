//! Segments: mount, remount, unmount, list; heartbeats by hand.

use std::time::Duration;

use proto::v1;

use crate::answers::{Heard, Items, Mounted, SegmentList, SegmentStatus};
use crate::calls;
use crate::client::Client;
use crate::convert::{self, check_items, millis, position, segment_to_wire};
use crate::error::Error;
use crate::heartbeat;
use crate::ids::{ClientId, SegmentId};
use crate::mounts::{Liveness, OwnSegment};
use crate::trip::Trip;
use crate::types::Segment;

impl Client {
    /// Offers segments. Until they are unmounted, the client mounts them again by itself if the
    /// primary has forgotten them. If the outcome of a mount is unknown, the client does not
    /// remember the segments: mount them again with the same ids, which keeps what was mounted.
    pub async fn mount_segments(&self, segments: &[Segment]) -> Result<Items<Mounted>, Error> {
        check_items("segments", segments.len())?;
        let trip = Trip::new("MountSegment", true, self.deadline());
        let turn = self.link().mounts.turn(&trip).await?;
        let wire = segments.iter().map(segment_to_wire).collect();
        let request = |caller| calls::MountSegment(v1::MountSegmentRequest { caller: Some(caller), segments: wire });
        let answer = self.call(request).await?;
        let mounted = mounted("MountSegment", segments.len(), answer)?;
        turn.mounted(segments, &mounted.results);
        Ok(mounted)
    }

    /// Offers one segment.
    pub async fn mount_segment(&self, segment: &Segment) -> Result<Mounted, Error> {
        self.mount_segments(std::slice::from_ref(segment)).await?.one()
    }

    /// Tells the primary all segments of this client. With `Heartbeat::Auto` the client does so by
    /// itself when needed.
    pub async fn remount_segments(&self, segments: &[Segment]) -> Result<Items<Mounted>, Error> {
        check_items("segments", segments.len())?;
        let trip = Trip::new("RemountSegments", true, self.deadline());
        let turn = self.link().mounts.turn(&trip).await?;
        let wire = segments.iter().map(segment_to_wire).collect();
        let request =
            |caller| calls::RemountSegments(v1::RemountSegmentsRequest { caller: Some(caller), segments: wire });
        let answer = self.call(request).await?;
        let mounted = mounted("RemountSegments", segments.len(), answer)?;
        turn.forget(|_| true);
        turn.mounted(segments, &mounted.results);
        Ok(mounted)
    }

    /// Withdraws segments, at once or after a grace in which they are read but get no new objects.
    /// From now on the client does not mount them again by itself, even if the outcome of this call
    /// is unknown.
    pub async fn unmount_segments(&self, ids: &[SegmentId], grace: Duration) -> Result<Items<()>, Error> {
        check_items("segment_ids", ids.len())?;
        let trip = Trip::new("UnmountSegment", true, self.deadline());
        let turn = self.link().mounts.turn(&trip).await?;
        turn.forget(|id| ids.contains(id));
        let segment_ids = ids.iter().map(|id| id.to_wire()).collect();
        let grace_ms = millis(grace);
        let request =
            |caller| calls::UnmountSegment(v1::UnmountSegmentRequest { caller: Some(caller), segment_ids, grace_ms });
        let answer = self.call(request).await?;
        convert::items("UnmountSegment", ids.len(), answer.position, answer.results)
    }

    /// The segments that this client has mounted, each with its state: a remount may have been
    /// refused. `Client::state` wakes at a change.
    pub fn segments(&self) -> Vec<OwnSegment> {
        self.link().mounts.segments()
    }

    /// Lists segments of one client or of all, with one name or with any.
    pub async fn list_segments(&self, client: Option<ClientId>, name: &str) -> Result<SegmentList, Error> {
        let client_id = client.map(ClientId::to_wire).unwrap_or_default();
        let name = name.to_owned();
        let answer =
            self.read(|_| calls::ListSegments(v1::ListSegmentsRequest { client_id, name, standby: None })).await?;
        listed(answer)
    }

    /// Sends one heartbeat, for clients with `Heartbeat::Off`. Remounting is up to the caller.
    pub async fn heartbeat(&self) -> Result<Heard, Error> {
        let heard = heartbeat::heartbeat(self.link(), self.deadline()).await?;
        self.link().mounts.update(|state| {
            state.liveness = if heard.needs_remount { Liveness::Remounting } else { Liveness::Alive };
            state.tasks_waiting = heard.tasks_waiting;
            state.position = heard.position;
        });
        Ok(heard)
    }
}

pub(crate) fn mounted(
    call: &'static str,
    asked: usize,
    answer: v1::MountSegmentResponse,
) -> Result<Items<Mounted>, Error> {
    let results = convert::results(call, asked, answer.results, |result| Ok(heartbeat::mounted(&result)))?;
    Ok(Items { position: position(answer.position), results })
}

pub(crate) fn listed(answer: v1::ListSegmentsResponse) -> Result<SegmentList, Error> {
    let segments = answer.segments.into_iter().map(status).collect::<Result<_, _>>()?;
    Ok(SegmentList { position: position(answer.position), from_standby: answer.from_standby, segments })
}

fn status(status: v1::SegmentStatus) -> Result<SegmentStatus, Error> {
    const CALL: &str = "ListSegments";
    let state = status.state();
    let missing = || Error::protocol(CALL, "a status without its segment");
    Ok(SegmentStatus {
        segment: convert::segment(CALL, status.segment.ok_or_else(missing)?)?,
        client_id: ClientId::from_wire(CALL, &status.client_id)?,
        state,
        used_bytes: status.used_bytes,
        objects: status.objects,
        retired_bytes: status.retired_bytes,
    })
}
