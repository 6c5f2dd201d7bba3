//! Which agents go with this controller: those of the same major and minor version. The wire
//! contract changes with the minor version at the earliest, so that patches may be installed
//! node by node. Others are watched and shown, and what they hold is looked after; new pieces
//! are not put on them. Pure.

/// This controller's version.
pub const OWN: &str = env!("CARGO_PKG_VERSION");

/// Whether an agent of this version can serve this controller's pools.
#[must_use]
pub fn goes_with(agent: &str) -> bool {
    series(agent).is_some() && series(agent) == series(OWN)
}

/// Major and minor.
fn series(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_may_differ_and_nothing_else() {
        let (major, minor) = series(OWN).unwrap();
        assert!(goes_with(OWN));
        assert!(goes_with(&format!("{major}.{minor}.99")));
        assert!(goes_with(&format!("{major}.{minor}.1-rc.2")));
        assert!(!goes_with(&format!("{major}.{}.0", minor + 1)));
        assert!(!goes_with(&format!("{}.{minor}.0", major + 1)));
        for odd in ["", "2", "a.b", &format!("{major}.")] {
            assert!(!goes_with(odd), "{odd:?}");
        }
    }
}
