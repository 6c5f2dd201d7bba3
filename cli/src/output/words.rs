//! The words that stand for the wire's enumerations in JSON and tables.

use rampool_proto::v1::{
    AtExpiry, Backend, EventKind, FailureKind, FilesystemKind, HoldingKind, MemberState, PoolState,
    Redundancy, VolumeLayout,
};

/// The word for `value`, an enumeration's number from the wire; a newer controller may send
/// one that this program does not know.
pub(super) fn word<T: Worded>(value: i32) -> String {
    T::try_from(value).map_or("unknown", T::word).to_owned()
}

/// An enumeration of the wire that has words.
pub(super) trait Worded: TryFrom<i32> {
    /// The documented word.
    fn word(self) -> &'static str;
}

impl Worded for PoolState {
    fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Releasing => "releasing",
            Self::Released => "released",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Replacing => "replacing",
            Self::FailingOver => "failing_over",
            Self::Reserved => "reserved",
        }
    }
}

impl Worded for Backend {
    fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::RdMcp => "rd_mcp",
            Self::Tmpfs => "tmpfs",
            Self::Brd => "brd",
        }
    }
}

impl Worded for VolumeLayout {
    fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Md => "md",
            Self::Lvm => "lvm",
        }
    }
}

/// The words are those that can be typed.
impl Worded for Redundancy {
    fn word(self) -> &'static str {
        match self {
            // Pools from before there was a choice are stripes.
            Self::Unspecified | Self::None => "none",
            Self::Mirror => "mirror",
            Self::Parity => "parity",
            Self::DoubleParity => "double-parity",
        }
    }
}

impl Worded for AtExpiry {
    fn word(self) -> &'static str {
        match self {
            // Nothing is released that nobody asked to release.
            Self::Unspecified | Self::Keep => "keep",
            Self::Release => "release",
        }
    }
}

impl Worded for MemberState {
    fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::InSync => "in_sync",
            Self::Rebuilding => "rebuilding",
            Self::Spare => "spare",
            Self::Faulty => "faulty",
            Self::Missing => "missing",
        }
    }
}

impl Worded for FilesystemKind {
    fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
            Self::None => "none",
        }
    }
}

impl Worded for EventKind {
    fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Finished => "finished",
            Self::GaveUp => "gave_up",
            Self::Note => "note",
        }
    }
}

impl Worded for HoldingKind {
    fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Ramdisk => "ramdisk",
            Self::Export => "export",
            Self::Session => "session",
            Self::NodeRecord => "node_record",
            Self::Volume => "volume",
            Self::Mount => "mount",
            Self::Share => "share",
            Self::ShareMount => "share_mount",
            Self::Job => "job",
        }
    }
}

impl Worded for FailureKind {
    fn word(self) -> &'static str {
        match self {
            Self::Unspecified | Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::NotNow => "not_now",
            Self::Busy => "busy",
            Self::Conflict => "conflict",
            Self::TimedOut => "timed_out",
            Self::Denied => "denied",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_from_a_newer_controller_is_unknown() {
        assert_eq!(word::<PoolState>(99), "unknown");
        assert_eq!(word::<PoolState>(2), "ready");
        assert_eq!(
            (word::<Redundancy>(99), word::<Redundancy>(0)),
            ("unknown".into(), "none".into())
        );
    }
}
