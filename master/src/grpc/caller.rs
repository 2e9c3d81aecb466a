//! Checks the `Caller` of a request, and the enumerations of the contract.

use metadata::{Address, Call, Pin};
use oplog::ClientId;
use proto::limits::{CLIENT_ID_BYTES, TENANT_BYTES_MAX};
use proto::status::{invalid, over_limit};
use proto::v1::{self, CallError, Caller};

use crate::node::Node;

/// The address that a call came from. None: it came from within.
pub(crate) type From = Option<Address>;

/// Checks the caller of a call that changes something.
pub(crate) fn mutating<'a>(node: &Node, address: From, caller: &'a Option<Caller>) -> Result<Call<'a>, CallError> {
    let client_id = caller.as_ref().map_or(&[][..], |caller| &caller.client_id[..]);
    let client = client_id.try_into().map_err(|_| {
        invalid("caller.client_id", format_args!("{} bytes, {CLIENT_ID_BYTES} are needed", client_id.len()))
    })?;
    let (number, answered_below) = caller.as_ref().map_or((0, 0), |c| (c.request_number, c.answered_below));
    let (client, tenant) = (ClientId(client), tenant(caller)?);
    Ok(Call { client, number, answered_below, address, tenant, now: node.clock.now() })
}

/// Returns all that a read needs: the tenant.
pub(crate) fn tenant(caller: &Option<Caller>) -> Result<&str, CallError> {
    let tenant = caller.as_ref().map_or("", |caller| caller.tenant.as_str());
    check_tenant("caller.tenant", tenant)?;
    Ok(tenant)
}

pub(crate) fn check_tenant(field: &str, tenant: &str) -> Result<(), CallError> {
    if tenant.len() > TENANT_BYTES_MAX {
        return Err(over_limit(field, tenant.len(), TENANT_BYTES_MAX, "bytes"));
    }
    Ok(())
}

/// An id of 16 bytes. `what` names the field.
pub(crate) fn id16(field: impl std::fmt::Display, id: &[u8]) -> Result<[u8; 16], CallError> {
    id.try_into().map_err(|_| invalid(field, format_args!("{} bytes, 16 are needed", id.len())))
}

/// A value of an enumeration of the contract.
pub(crate) fn choice<T: TryFrom<i32>>(field: impl std::fmt::Display, value: i32) -> Result<T, CallError> {
    T::try_from(value).map_err(|_| invalid(field, format_args!("{value} is no value that this version knows")))
}

pub(crate) fn pin(node: &Node, pin: i32, soft_pin_ttl_ms: u64) -> Result<Pin, CallError> {
    Ok(match choice("pin", pin)? {
        v1::Pin::None => Pin::None,
        v1::Pin::Hard => Pin::Hard,
        v1::Pin::Soft if soft_pin_ttl_ms == 0 => Pin::Soft { ttl_ms: node.state().settings().settings.soft_pin_ttl_ms },
        v1::Pin::Soft => Pin::Soft {
            ttl_ms: u32::try_from(soft_pin_ttl_ms).map_err(|_| {
                invalid("soft_pin_ttl_ms", format_args!("{soft_pin_ttl_ms}, the limit is {}", u32::MAX))
            })?,
        },
    })
}

pub(crate) fn pin_to_wire(pin: Pin) -> v1::Pin {
    match pin {
        Pin::None => v1::Pin::None,
        Pin::Soft { .. } => v1::Pin::Soft,
        Pin::Hard => v1::Pin::Hard,
    }
}
