//! The words that stand for the wire's enumerations in JSON and tables.

use rampool_proto::v1::{
    Backend, EventKind, FailureKind, FilesystemKind, HoldingKind, PoolState, VolumeLayout,
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
    }
}
